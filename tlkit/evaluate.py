"""How good a classifier is on a folder of photos, and how much of that is left under other light and angles."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import metrics
from tlkit.classifier import BATCH, Classifier
from tlkit.data.digits import NAME as DIGITS
from tlkit.data.digits import digits_folder
from tlkit.data.discover import Photo, Problem
from tlkit.data.find import find_photos
from tlkit.data.multi_label import label_array
from tlkit.data.pipeline import Pixels, in_order
from tlkit.data.recorded import find_again, photos_of
from tlkit.errors import OptionError
from tlkit.evaluate_multi import MultiLabelEvaluation, evaluation
from tlkit.progress import Bar, Progress
from tlkit.shifts import SHIFTS, shifted


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """Figures of one class; precision is 0 where it was never predicted, recall where it has no images."""

    name: str
    images: int
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class ShiftFigures:
    """Accuracy after a change of every photo: its name, its strength in `unit`, and what that did."""

    shift: str
    strength: float
    unit: str
    accuracy: float
    accuracy_change: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate` measured. All shares are fractions.

    Attributes:
        kind: `run` or `artifact`.
        model: Its path.
        data: The folder whose photos were classified.
        images: How many.
        accuracy: Top-1.
        top5_accuracy: The label is among the 5 most probable classes.
        calibration_error: Expected calibration error, in 15 equal bins of confidence.
        classes: Of every class of the model, in its order.
        confusion: `[classes, classes]` counts: row the label, column the prediction.
        shifts: Accuracy under each change that was asked for.
        trained_on: How many of the photos the run was trained on.
        problems: Files that were left out.
    """

    kind: str
    model: str
    data: str
    images: int
    accuracy: float
    top5_accuracy: float
    calibration_error: float
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    shifts: tuple[ShiftFigures, ...]
    trained_on: int
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as `--json` prints it."""
        found = asdict(self)
        kind, model = found.pop("kind"), found.pop("model")
        per_class = [{"class": one.pop("name"), **one} for one in found.pop("classes")]
        return {kind: model, **found, "per_class": per_class}


def evaluate(
    classifier: Classifier, data: str | Path | None, *, shifts: Sequence[str] = (), progress: Progress | None = None
) -> "Evaluation | MultiLabelEvaluation":
    """Classifies every photo of a folder and compares with the names of its class folders.

    Args:
        classifier: What classifies them.
        data: `DIR/<class>/*`, or a layout of train, val and test of which test is taken, or val; `digits` for the
            embedded ones. None: the photos that a run kept for testing.
        shifts: From `tlkit.shifts.shift_names`: classify all photos again after each of these changes.
        progress: Shows what happens.

    Raises:
        DataError: the folder can't be used, or has classes that the model does not know.
        OptionError: an artifact without `data`.
        TlkitError: the model is broken.
    """
    progress = progress or Progress()
    root, photos, problems = _photos(classifier, data, progress)
    labels = label_array(photos, len(classifier.classes))
    for remark in classifier.remarks:
        progress.warn(remark)
    trained = {entry["sha256"] for entry in classifier.manifest["split"]["train"]} if classifier.manifest else set()
    trained_on = sum(photo.sha256 in trained for photo in photos)
    if trained_on:
        progress.warn(f"The run was trained on {trained_on} of these {len(photos)} photos: expect less of new ones.")
    changes = [(name, strength) for name in shifts for strength in SHIFTS[name].strengths]
    pixels = Pixels(root, photos, classifier.spec, keep=bool(changes))
    with progress.bar("Evaluating", len(photos) * (1 + len(changes))) as bar:
        probabilities = _classify(classifier, pixels, None, bar)
        changed = [_classify(classifier, pixels, change, bar) for change in changes]
    about: dict[str, Any] = {
        "kind": classifier.kind,
        "model": classifier.name,
        "data": str(root),
        "trained_on": trained_on,
        "problems": tuple(problems),
    }
    if classifier.thresholds is not None:
        return evaluation(probabilities, labels, classifier.thresholds, classifier.classes, changes, changed, **about)
    return _evaluation(probabilities, labels, classifier.classes, changes, changed, **about)


def _evaluation(
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    changes: Sequence[tuple[str, float]],
    changed: Sequence[np.ndarray],
    **about: Any,  # noqa: ANN401
) -> Evaluation:
    """Returns the figures of one label for each photo; `changed` holds the probabilities after each of the changes."""
    accuracy, under = metrics.accuracy(probabilities, labels), []
    for (name, strength), after in zip(changes, changed, strict=True):
        left, unit = metrics.accuracy(after, labels), SHIFTS[name].unit
        change = left - accuracy
        under.append(ShiftFigures(shift=name, strength=strength, unit=unit, accuracy=left, accuracy_change=change))
    confusion = metrics.confusion_matrix(probabilities, labels)
    return Evaluation(
        **about,
        images=len(labels),
        accuracy=accuracy,
        top5_accuracy=metrics.top_k_accuracy(probabilities, labels, 5),
        calibration_error=metrics.expected_calibration_error(probabilities, labels),
        classes=_per_class(classes, confusion),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        shifts=tuple(under),
    )


def _photos(
    classifier: Classifier, data: str | Path | None, progress: Progress
) -> tuple[Path, list[Photo], list[Problem]]:
    """Returns a root, photos below it with labels of the classifier, and what had to be left out."""
    if data is not None:
        given = digits_folder() if str(data) == DIGITS else Path(data).expanduser()
        several = classifier.thresholds is not None
        folder = find_photos(given, known=classifier.classes, multi_label=several, progress=progress)
        if folder.origin is None and folder.root != given:
            progress.say(f"{given} has splits; evaluating {folder.root}")
        for problem in folder.problems[:20]:
            progress.warn(f"{problem.path} is left out: {problem.reason}")
        if len(folder.problems) > 20:
            progress.warn(f"{len(folder.problems) - 20} more files are left out; --json lists all of them.")
        return folder.root, folder.photos["all"], folder.problems
    if classifier.manifest is None:
        raise OptionError(f"{classifier.name} does not know its photos. Say on which to evaluate it: --data DIR")
    split = "test" if classifier.manifest["split"]["test"] else "val"
    root, photos = find_again(classifier.manifest, photos_of(classifier.manifest, split), None, run=classifier.folder)
    progress.say(f"Evaluating on the {len(photos)} {split} photos of the run; others: --data DIR")
    return root, photos, []


def _classify(classifier: Classifier, pixels: Pixels, change: tuple[str, float] | None, bar: Bar) -> np.ndarray:
    """Returns `[photos, classes]` probabilities of all photos, each after a change: a shift and its strength."""
    found = []
    for batch in in_order(len(pixels.photos), BATCH):
        images = pixels.load(batch)
        if change is not None:
            hashes = [pixels.photos[i].sha256 for i in batch]
            images = np.stack([shifted(*one, *change) for one in zip(images, hashes, strict=True)])
        found.append(classifier.probabilities(images))
        bar.advance(len(batch))
    return np.concatenate(found)


def _per_class(names: Sequence[str], confusion: np.ndarray) -> tuple[ClassFigures, ...]:
    columns = (names, confusion.sum(axis=1), *metrics.precision_recall(confusion))
    return tuple(
        ClassFigures(name=name, images=int(images), precision=float(precision), recall=float(recall))
        for name, images, precision, recall in zip(*columns, strict=True)
    )
