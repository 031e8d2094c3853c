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
