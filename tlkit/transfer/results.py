"""What a training leaves in its run folder, beside the manifest."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import metrics
from tlkit.data.discover import Photo
from tlkit.data.split import PhotoSet
from tlkit.manifest import replacing, sha256_of, write_text


def save_model(model: keras.Model, folder: Path) -> Path:
    """Saves `model.keras`: from pixels to probabilities, where `model` gives logits."""
    whole = keras.Model(model.input, keras.layers.Softmax(name="probabilities")(model.output), name=model.name)
    with replacing(folder / "model.keras") as temporary:
        whole.save(temporary)
    return folder / "model.keras"


def save_predictions(folder: Path, photos: PhotoSet, probabilities: np.ndarray) -> None:
    """Saves `predictions.npz`: the probabilities of model.keras on every photo not trained on, val then test."""
    with replacing(folder / "predictions.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=probabilities.astype(np.float32),
            labels=np.array([photo.label for photo in photos.held_out]),
            paths=np.array([photo.path for photo in photos.held_out]),
            sha256=np.array([photo.sha256 for photo in photos.held_out]),
            split=np.array(["val"] * len(photos.val) + ["test"] * len(photos.test)),
            model_sha256=np.array(sha256_of(folder / "model.keras")),
        )


def save_history(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Saves `history.csv`: one row an epoch; none when the first epoch was interrupted."""
    names = list(rows[0]) if rows else ["epoch"]
    _save_csv(folder / "history.csv", names, ([f"{row[name]:.6g}" for name in names] for row in rows))


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
    _save_csv(folder / f"confusion_{split}.csv", ["label \\ prediction", *classes], rows)


def _save_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes CSV in which no cell can be taken for a formula: class names are whatever folders are called."""

    def safe(cell: object) -> object:
        return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and not _is_number(cell) else cell

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([safe(cell) for cell in header])
    writer.writerows([safe(cell) for cell in row] for row in rows)
    write_text(path, text.getvalue())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
