"""Figures of merit from probabilities. NumPy alone: importing scikit-learn costs more than a cached training.

A test holds every function to its counterpart in scikit-learn.
"""

import numpy as np


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns top-1 accuracy, a fraction.

    Args:
        probabilities: `[images, classes]`.
        labels: `[images]` class indices.
    """
    return float(np.mean(probabilities.argmax(axis=1) == labels)) if len(labels) else float("nan")


def top_k_accuracy(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Returns how often the label is among the `k` most probable classes, a fraction; arguments as for `accuracy`.

    Of equally probable classes the first ones count, as in `accuracy`.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float(np.mean((best == labels[:, None]).any(axis=1))) if len(labels) else float("nan")


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Returns how far confidence is from accuracy, on average over images, a fraction; arguments as for `accuracy`.

    Confidence, the largest probability of an image, is cut into `bins` equal intervals, open below and closed above;
    each counts the difference of its mean confidence and its accuracy, by its share of the images. Guo et al., On
    Calibration of Modern Neural Networks, arXiv:1706.04599, equation 3.
    """
    if not len(labels):
        return float("nan")
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean negative log likelihood, in nats; arguments as for `accuracy`."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.maximum(chosen, 1e-15))))


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns `[classes, classes]` counts: row the label, column the prediction; arguments as for `accuracy`."""
    classes = probabilities.shape[1]
    flat = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def precision_recall(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns precision and recall of each class, fractions; 0 where a class was never predicted or never there."""
    right = np.diag(confusion).astype(float)
    predicted, present = confusion.sum(axis=0), confusion.sum(axis=1)
    return right / np.maximum(predicted, 1), right / np.maximum(present, 1)


def balanced_class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns `[classes]` weights, inverse to the frequency of each class in `labels`, with a mean of 1 over images."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (classes * np.maximum(counts, 1))


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns indices of the images whose label the model contradicts with confidence, the clearest first.

    An image is one when its most probable class is not its label, and at least as probable as that class is on average
    for images that are labelled with it (Northcutt et al., Confident Learning, arXiv:1911.00068, equation 2): the
    threshold of each class is its own, so neither a class of which the model is never sure nor an overconfident model
    floods the list. They are ranked by how much more probable that class is than the label.

    Departure: the paper also counts classes that reach their threshold without being the most probable one.

    Args:
        probabilities: `[images, classes]`, of images on which the model was not trained.
        labels: `[images]` class indices. For a class that no image has, the threshold is that of all images.
    """
    if not len(labels):
        return np.empty(0, int)
    rows = np.arange(len(labels))
    confidence = probabilities[rows, labels].astype(np.float64)
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, weights=confidence, minlength=probabilities.shape[1])
    thresholds = np.where(counts, sums / np.maximum(counts, 1), confidence.mean())
    predicted = probabilities.argmax(axis=1)
    highest = probabilities[rows, predicted].astype(np.float64)
    contradicted = np.flatnonzero((predicted != labels) & (highest >= thresholds[predicted]))
    return contradicted[np.argsort(-(highest - confidence)[contradicted], kind="stable")]
