"""Which labels of a run's photos are probably wrong: those that its model contradicts with confidence."""

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import metrics
from tlkit.classifier import BATCH, open_classifier
from tlkit.data.discover import Photo
from tlkit.data.pipeline import Pixels, in_order
from tlkit.data.recorded import find_again, photos_of
from tlkit.errors import RunError
from tlkit.manifest import read_manifest, sha256_of, write_text
from tlkit.progress import Progress
from tlkit.tables import csv_text

CSV = "suspects.csv"
PAGE = "suspects.html"
_LIMIT = "leave --train out"


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A photo whose label is probably wrong.

    Attributes:
        path: Below the root, with `/`.
        sha256: Of the file.
        split: `train`, `val` or `test`.
        label: The class it is filed under.
        predicted: The class that the model sees.
        label_probability: What the model gives the label, in [0, 1].
        predicted_probability: What it gives the other class.
    """

    path: str
    sha256: str
    split: str
    label: str
    predicted: str
    label_probability: float
    predicted_probability: float

    @property
    def margin(self) -> float:
        """How clearly the model contradicts, in [0, 1]."""
        return self.predicted_probability - self.label_probability


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """What `find_suspects` found.

    Attributes:
        run: The run's folder.
        images: How many photos of each split were looked at.
        found: The clearest first.
    """

    run: str
    images: dict[str, int]
    found: tuple[Suspect, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as `--json` prints it."""
        listed = [{**asdict(one), "margin": one.margin} for one in self.found]
        return {"run": self.run, "images": self.images, "suspects": listed}


def find_suspects(
    folder: Path, *, train: bool = False, data: str | Path | None = None, progress: Progress | None = None
) -> Suspects:
    """Ranks photos by how clearly the model of a run contradicts their labels.

    Those that were held out are judged by `predictions.npz`, in no time and without Keras.

    Args:
        folder: A complete run.
        train: Look at the photos that the model was trained on, too: it runs on them. What it has learned by heart it
            does not contradict, so fewer errors are found there. Their thresholds are their own.
        data: Where the photos are now, if they have moved; only used when the model has to run.
        progress: Shows what happens.

    Raises:
        RunError: the run's photos have several labels each, or it held none out.
        DataError: photos on which the model has to run are not where they were.
    """
    progress, manifest = progress or Progress(), read_manifest(folder)
    if manifest["task"] != "single_label":
        raise RunError(
            f"The photos of {folder} may have several labels each ({manifest['task']}), and only single labels can be "
            "judged. Name another run."
        )
    held_out = photos_of(manifest, "val", "test")
    if not held_out and not train:
        raise RunError(f"The run {folder} held no photo out. Look at those it was trained on: --train")
    probabilities = _saved(folder, held_out, len(manifest["classes"]))
    if probabilities is None:
        progress.warn("predictions.npz is missing, broken, or not of this model.keras; the Keras model runs again.")
        probabilities = _classify(folder, manifest, held_out, data, progress)
    found = _judged(manifest, held_out, probabilities)
    if train:
        photos = photos_of(manifest, "train")
        found += _judged(manifest, photos, _classify(folder, manifest, photos, data, progress))
    images = {name: len(manifest["split"][name]) for name in ("train", "val", "test") if train or name != "train"}
    ranked = sorted(found, key=lambda one: -one.margin)
    return Suspects(run=str(folder), images=images, found=tuple(ranked))


def found_again(folder: Path, suspects: Sequence[Suspect], data: str | Path | None) -> tuple[Path, tuple[Suspect, ...]]:
    """Returns a root, and suspects with paths below it.

    Raises:
        DataError: photos have moved, and `data` does not hold them.
    """
    photos = [Photo(one.path, 0, one.sha256) for one in suspects]
    root, photos = find_again(read_manifest(folder), photos, data, run=folder, limit=_LIMIT)
    return root, tuple(replace(one, path=photo.path) for one, photo in zip(suspects, photos, strict=True))


def save_csv(folder: Path, found: Suspects) -> Path:
    """Writes `suspects.csv` into the run: one suspect a row, the clearest first."""
    header = ["path", "split", "label", "predicted", "label_probability", "predicted_probability", "margin", "sha256"]
    rows = (
        [one.path, one.split, one.label, one.predicted]
        + [f"{value:.4f}" for value in (one.label_probability, one.predicted_probability, one.margin)]
        + [one.sha256]
        for one in found.found
    )
    write_text(folder / CSV, csv_text([header, *rows]))
    return folder / CSV


def _judged(manifest: dict[str, Any], photos: Sequence[Photo], probabilities: np.ndarray) -> list[Suspect]:
    labels = np.array([photo.label for photo in photos], int)
    split_of = {entry["path"]: name for name, entries in manifest["split"].items() for entry in entries}
    found = []
    for index in metrics.suspects(probabilities, labels):
        photo, row = photos[index], probabilities[index]
        predicted = int(row.argmax())
        found.append(
            Suspect(
                path=photo.path,
                sha256=photo.sha256,
                split=split_of[photo.path],
                label=manifest["classes"][photo.label],
                predicted=manifest["classes"][predicted],
                label_probability=float(row[photo.label]),
                predicted_probability=float(row[predicted]),
            )
        )
    return found


def _saved(folder: Path, photos: Sequence[Photo], classes: int) -> np.ndarray | None:
    """Reads what training saved, if it is whole and belongs to `model.keras` and these photos."""
    try:
        with (folder / "predictions.npz").open("rb") as file, np.load(file, allow_pickle=False) as saved:
            same = str(saved["model_sha256"]) == sha256_of(folder / "model.keras")
            probabilities = saved["probabilities"]
            same &= list(saved["sha256"]) == [photo.sha256 for photo in photos]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    whole = probabilities.shape == (len(photos), classes) and np.isfinite(probabilities).all()
    return probabilities if same and whole else None


def _classify(
    folder: Path, manifest: dict[str, Any], photos: Sequence[Photo], data: str | Path | None, progress: Progress
) -> np.ndarray:
    """Returns `[photos, classes]` probabilities from the run's model."""
    root, photos = find_again(manifest, photos, data, run=folder, limit=_LIMIT)
    found = [np.empty((0, len(manifest["classes"])), np.float32)]
    with open_classifier(folder) as classifier, progress.bar("Running the model", len(photos)) as bar:
        pixels = Pixels(root, photos, classifier.spec)
        for batch in in_order(len(photos), BATCH):
            found.append(classifier.probabilities(pixels.load(batch)))
            bar.advance(len(batch))
    return np.concatenate(found)
