"""How good a classifier is that may give a photo any number of labels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tlkit import multi_label
from tlkit.data.discover import Problem
from tlkit.shifts import SHIFTS


@dataclass(frozen=True, kw_only=True)
class MultiLabelClass:
    """Figures of one class; the average precision is None where no photo has it, other figures are 0 for 0/0."""

    name: str
    images: int
    average_precision: float | None
    precision: float
    recall: float
    f1: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class MultiLabelShift:
    """mAP and accuracy after a change of every photo: its name, its strength in `unit`, and what that did."""

    shift: str
    strength: float
    unit: str
    map: float | None
    map_change: float | None
    accuracy: float
    accuracy_change: float


@dataclass(frozen=True, kw_only=True)
class MultiLabelEvaluation:
    """What `evaluate` measured of any number of labels. All shares are fractions.

    Attributes:
        kind: `run` or `artifact`.
        model: Its path.
        data: The table, or the folder in which the run's photos are.
        images: How many photos.
        map: Mean over the classes that a photo has of their average precision; None where no photo has a label.
        accuracy: Right decisions at the thresholds, of which there is one for each photo and class; 1 - Hamming loss.
        micro_f1: Over all decisions together.
        macro_f1: Mean over the classes that a photo has; None where there are none.
        subset_accuracy: Photos with right decisions only.
        hamming_loss: Wrong decisions.
        classes: Of every class of the model, in its order.
        shifts: mAP and accuracy under each change that was asked for.
        trained_on: How many of the photos the run was trained on.
        problems: Files that were left out.
    """

    kind: str
    model: str
    data: str
    images: int
    map: float | None
    accuracy: float
    micro_f1: float
    macro_f1: float | None
    subset_accuracy: float
    hamming_loss: float
    classes: tuple[MultiLabelClass, ...]
    shifts: tuple[MultiLabelShift, ...]
    trained_on: int
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as `--json` prints it."""
        found = asdict(self)
        kind, model = found.pop("kind"), found.pop("model")
        per_class = [{"class": one.pop("name"), **one} for one in found.pop("classes")]
        return {kind: model, **found, "per_class": per_class}


def evaluation(
    probabilities: np.ndarray,
    labels: np.ndarray,
    thresholds: Sequence[float],
    classes: Sequence[str],
    changes: Sequence[tuple[str, float]] = (),
    changed: Sequence[np.ndarray] = (),
    **about: Any,  # noqa: ANN401
) -> MultiLabelEvaluation:
    """Returns the figures of a classifier.

    Args:
        probabilities, labels: `[images, classes]`.
        thresholds, classes: Of the classifier.
        changes: Names and strengths of changes of the photos.
        changed: Probabilities after each of them.
        **about: The fields that do not follow from these.
    """
    found = multi_label.figures(probabilities, labels, thresholds, classes)
    del found["log_loss"]
    rows = [MultiLabelClass(name=row.pop("class"), **row) for row in found.pop("per_class")]
    shifts = []
    for (name, strength), after in zip(changes, changed, strict=True):
        accuracy = float(np.mean(multi_label.decisions(after, thresholds) == (labels > 0.5)))
        mean = None if found["map"] is None else multi_label.mean_average_precision(after, labels)
        shift = MultiLabelShift(
            shift=name,
            strength=strength,
            unit=SHIFTS[name].unit,
            map=mean,
            map_change=None if mean is None else mean - found["map"],
            accuracy=accuracy,
            accuracy_change=accuracy - found["accuracy"],
        )
        shifts.append(shift)
    return MultiLabelEvaluation(**about, **found, classes=tuple(rows), shifts=tuple(shifts))
