"""What a training leaves in its run folder, beside the manifest."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import metrics, multi_label
from tlkit.data.discover import Photo
from tlkit.data.multi_label import label_array
from tlkit.data.split import PhotoSet
from tlkit.manifest import replacing, sha256_of, write_text
from tlkit.tables import csv_text


def save_model(
    model: keras.Model, folder: Path, check: Callable[[Path], None] = lambda _: None, *, multi_label: bool = False
) -> Path:
    """Saves `model.keras`: from pixels to probabilities, where `model` gives logits.

    `check` gets the file before it takes the place of an older one; what it raises keeps that. With `multi_label` each
    class has a probability of its own, else they sum to 1.
    """
    logits = model.outputs[0]  # auxiliary classifiers, if there were any, end here
    own = keras.layers.Activation("sigmoid", name="probabilities") if multi_label else None
    last = own or keras.layers.Softmax(name="probabilities")
    whole = keras.Model(model.input, last(logits), name=model.name)
    with replacing(folder / "model.keras") as temporary:
        whole.save(temporary)
        check(temporary)
    return folder / "model.keras"


def save_predictions(folder: Path, photos: PhotoSet, probabilities: np.ndarray) -> None:
    """Saves `predictions.npz`: the probabilities of model.keras on every photo not trained on, val then test."""
    with replacing(folder / "predictions.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=probabilities.astype(np.float32),
            labels=label_array(photos.held_out, len(photos.classes)),
            paths=np.array([photo.path for photo in photos.held_out]),
            sha256=np.array([photo.sha256 for photo in photos.held_out]),
            split=np.array(["val"] * len(photos.val) + ["test"] * len(photos.test)),
            model_sha256=np.array(sha256_of(folder / "model.keras")),
        )


def save_history(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Saves `history.csv`: one row an epoch; none when the first epoch was interrupted."""
    names = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    names += ["val_map"] * any("val_map" in row for row in rows)
    cells = ([f"{row[name]:.6g}" for name in names] for row in rows)
    write_text(folder / "history.csv", csv_text([names, *cells]))


def save_labels(folder: Path, classes: Sequence[str]) -> None:
    """Saves `labels.txt`: one class a line, in the order of the model's output."""
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in classes))


def evaluate(probabilities: np.ndarray, photos: Sequence[Photo], classes: Sequence[str]) -> dict[str, Any]:
    """Returns the manifest's metrics of one split: accuracy, images, log loss, and precision and recall by class."""
    labels = np.array([photo.label for photo in photos])
    confusion = metrics.confusion_matrix(probabilities, labels)
    precision, recall = metrics.precision_recall(confusion)
    return {
        "accuracy": metrics.accuracy(probabilities, labels),
        "images": len(photos),
        "log_loss": metrics.log_loss(probabilities, labels),
        "per_class": [
            {"class": name, "images": int(count), "precision": float(p), "recall": float(r)}
            for name, count, p, r in zip(classes, confusion.sum(axis=1), precision, recall, strict=True)
        ],
    }


def save_confusion(
    folder: Path, split: str, probabilities: np.ndarray, photos: Sequence[Photo], classes: Sequence[str]
) -> None:
    """Saves `confusion_<split>.csv` (row: label, column: prediction)."""
    labels = np.array([photo.label for photo in photos])
    confusion = metrics.confusion_matrix(probabilities, labels)
    rows = ([name, *counts] for name, counts in zip(classes, confusion, strict=True))
    write_text(folder / f"confusion_{split}.csv", csv_text([["label \\ prediction", *classes], *rows]))


def choose_thresholds(photos: PhotoSet, probabilities: np.ndarray) -> dict[str, list[float]]:
    """Returns the manifest's `thresholds`, in the order of the classes and chosen on val; nothing for a single label.

    Args:
        photos: With the labels.
        probabilities: Of val, then test.
    """
    if not photos.multi_label:
        return {}
    labels = label_array(photos.val, len(photos.classes))
    return {"thresholds": multi_label.choose_thresholds(probabilities[: len(labels)], labels).tolist()}


def evaluate_splits(
    folder: Path, photos: PhotoSet, probabilities: np.ndarray, thresholds: Sequence[float] = ()
) -> dict[str, Any]:
    """Returns the manifest's metrics by split, and saves the confusion matrix of each where a photo has one label.

    Args:
        folder: Of the run.
        photos: With the labels.
        probabilities: Of val, then test.
        thresholds: Of each class, where a photo has any number of labels.
    """
    found: dict[str, Any] = {"val": None, "test": None}
    for name, part, rows in (
        ("val", photos.val, probabilities[: len(photos.val)]),
        ("test", photos.test, probabilities[len(photos.val) :]),
    ):
        if part and photos.multi_label:
            labels = label_array(part, len(photos.classes))
            found[name] = multi_label.figures(rows, labels, thresholds, photos.classes)
        elif part:
            found[name] = evaluate(rows, part, photos.classes)
            save_confusion(folder, name, rows, part, photos.classes)
    return found


def count_suspects(photos: PhotoSet, probabilities: np.ndarray) -> int | None:
    """Returns how many labels of held-out photos the model contradicts with confidence; None of several labels."""
    if photos.multi_label:
        return None
    return len(metrics.suspects(probabilities, np.array([photo.label for photo in photos.held_out])))
