"""Figures, thresholds and weights where a photo has any number of labels, and each class its own probability.

NumPy alone, as `tlkit.metrics`; a test holds every function to its counterpart in scikit-learn. Labels are
`[images, classes]`: 1 where the photo shows the class, else 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

DEFAULT_THRESHOLD = 0.5
# With fewer photos that show a class its best threshold is an accident.
MIN_POSITIVES = 5


def decisions(probabilities: np.ndarray, thresholds: np.ndarray | Sequence[float]) -> np.ndarray:
    """Returns `[images, classes]` truth values: whether a class is taken to be there.

    Args:
        probabilities: `[images, classes]`.
        thresholds: `[classes]`; a probability that equals its threshold is enough.
    """
    return probabilities >= np.asarray(thresholds, np.float64)


def average_precision(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the average precision of each class, `[classes]`: not a number where no photo shows it.

    The sum over all distinct thresholds of precision, times what recall gains there: what scikit-learn's
    `average_precision_score` is, without interpolation. Photos of equal probability count together.
    """
    return np.array([_average_precision(p, present) for p, present in zip(probabilities.T, labels.T, strict=True)])


def _average_precision(probabilities: np.ndarray, present: np.ndarray) -> float:
    right, taken, _ = _curve(probabilities, present)
    if not len(right) or not right[-1]:
        return float("nan")
    gained = np.diff(right, prepend=0.0) / right[-1]
    return float(np.sum(gained * right / taken))


def _curve(probabilities: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns, from the largest distinct probability down: how many photos at or above show it, how many there are,
    and that probability, each `[distinct]`.
    """
    values = np.asarray(probabilities, np.float64)
    order = np.argsort(-values, kind="stable")
    values = values[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # of those that are equal
    right = np.cumsum(np.asarray(present)[order] > 0.5).astype(np.float64)
    return right[last], last + 1.0, values[last]


def mean_average_precision(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns mAP: the mean of `average_precision` over the classes that some photo shows, each counting alike."""
    found = average_precision(probabilities, labels)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else float("nan")


def f1_scores(taken: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the F1 score over all decisions together (micro) and that of each class, `[classes]`; 0 for 0/0.

    Args:
        taken: What `decisions` returned.
        labels: `[images, classes]`.
    """
    present = labels > 0.5
    right, either = (taken & present).sum(axis=0), taken.sum(axis=0) + present.sum(axis=0)
    return float(2 * right.sum() / max(either.sum(), 1)), 2 * right / np.maximum(either, 1)


def choose_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the threshold of each class, `[classes]`, that makes its F1 largest.

    Of equally good ones it is the nearest to 0.5; each lies in the middle of its gap between two probabilities, unless
    that gap holds 0.5. A class that fewer than `MIN_POSITIVES` photos show, or that all do, keeps 0.5.
    """
    columns = zip(probabilities.T, labels.T, strict=True)
    return np.array([_threshold(column, present > 0.5) for column, present in columns])


def _threshold(probabilities: np.ndarray, present: np.ndarray) -> float:
    count = int(present.sum())
    if count < MIN_POSITIVES or count == len(present):
        return DEFAULT_THRESHOLD
    right, taken, values = _curve(probabilities, present)
    f1 = 2 * right / (taken + count)
    below = np.append(values[1:], 0.0)
    middle = (values + below) / 2
    candidates = np.where((below < DEFAULT_THRESHOLD) & (values >= DEFAULT_THRESHOLD), DEFAULT_THRESHOLD, middle)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(candidates[best[np.abs(candidates[best] - DEFAULT_THRESHOLD).argmin()]])


def figures(
    probabilities: np.ndarray, labels: np.ndarray, thresholds: np.ndarray | Sequence[float], classes: Sequence[str]
) -> dict[str, Any]:
    """Returns the manifest's metrics of one split; None stands for what is no number.

    `accuracy` is the share of right decisions, of which there is one for each photo and class (1 - Hamming loss);
    `subset_accuracy` the share of photos with right decisions only. Means over classes are over those that some photo
    shows.

    Args:
        probabilities, labels: `[images, classes]`.
        thresholds: Of each class.
        classes: Names.
    """
    taken, present = decisions(probabilities, thresholds), labels > 0.5
    same, shown = taken == present, present.any(axis=0)
    micro, f1 = f1_scores(taken, labels)
    precision_of = average_precision(probabilities, labels)
    right = (taken & present).sum(axis=0)
    columns = (
        classes,
        present.sum(axis=0),
        precision_of,
        right / np.maximum(taken.sum(axis=0), 1),
        right / np.maximum(present.sum(axis=0), 1),
        f1,
        thresholds,
    )
    return {
        "accuracy": float(same.mean()),
        "images": len(labels),
        "map": _number(mean_average_precision(probabilities, labels)),
        "micro_f1": micro,
        "macro_f1": _number(f1[shown].mean() if shown.any() else float("nan")),
        "subset_accuracy": float(same.all(axis=1).mean()),
        "hamming_loss": float(1 - same.mean()),
        "log_loss": log_loss(probabilities, labels),
        "per_class": [
            {
                "class": name,
                "images": int(images),
                "average_precision": _number(ap),
                "precision": float(p),
                "recall": float(r),
                "f1": float(f),
                "threshold": float(threshold),
            }
            for name, images, ap, p, r, f, threshold in zip(*columns, strict=True)
        ],
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean negative log likelihood of a decision, in nats; arguments as for `average_precision`."""
    chosen = np.where(labels > 0.5, probabilities, 1 - probabilities)
    return float(-np.mean(np.log(np.maximum(chosen, 1e-15))))


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Returns `[2, classes]` weights, of not showing a class and of showing it, inverse to how many photos do.

    In each class both sides weigh the same together, and the mean over the photos is 1; a class that all photos show,
    or none, keeps 1.
    """
    shown = (labels > 0.5).sum(axis=0)
    counts = np.stack([len(labels) - shown, shown])
    weights = len(labels) / (2 * np.maximum(counts, 1))
    return np.where((counts == 0).any(axis=0), 1.0, weights)


def prior_logits(labels: np.ndarray) -> np.ndarray:
    """Returns `[classes]` logits of how many photos show each class, with one photo more on either side.

    A classifier that begins there need not first learn that most classes are absent from most photos (Lin et al.,
    Focal Loss for Dense Object Detection, arXiv:1708.02002, section 4.1).
    """
    shown = (labels > 0.5).sum(axis=0)
    return np.log((shown + 1.0) / (len(labels) - shown + 1.0))
