"""Which photo is trained on, validated on and tested on: stratified, seeded, and never the same photo twice."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tlkit.data.arrays import VERIFICATION
from tlkit.data.discover import Folder, Photo, Problem
from tlkit.data.multi_label import labels_of, take_evenly
from tlkit.data.origin import Origin
from tlkit.errors import DataError

# Of each class. A class of 3 photos gives one to each part.
VAL_FRACTION = 0.15
TEST_FRACTION = 0.15


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """Photos ready for training: what `run.json` records as `data`, `classes` and `split`."""

    root: Path
    kind: Literal["classes", "splits"]
    classes: tuple[str, ...]
    train: tuple[Photo, ...]
    val: tuple[Photo, ...]
    test: tuple[Photo, ...]
    problems: tuple[Problem, ...]
    origin: Origin | None = None

    @property
    def held_out(self) -> tuple[Photo, ...]:
        """Every photo that training does not see: val, then test."""
        return self.val + self.test

    @property
    def multi_label(self) -> bool:
        """Whether a photo may have any number of labels."""
        return any(photo.labels is not None for photo in self.train)

    @property
    def recorded_root(self) -> str:
        """What `run.json` says of the root: a full path, but of arrays the run's own folder, which moves with it."""
        arrays = self.origin is not None and self.origin.kind == "arrays"
        return VERIFICATION if arrays else str(self.root.absolute())

    def to_split(self) -> dict[str, Any]:
        """Returns the manifest's `split`: for each part its files with class and hash."""
        return {name: [_entry(photo) for photo in getattr(self, name)] for name in ("train", "val", "test")}


def _entry(photo: Photo) -> dict[str, Any]:
    labels = {"label": photo.label} if photo.labels is None else {"labels": list(photo.labels)}
    return {"path": photo.path, **labels, "sha256": photo.sha256}


def split(folder: Folder, *, seed: int) -> PhotoSet:
    """Assigns every photo to train, val or test.

    Given splits are kept; a missing val is taken from train. Identical files stay together: of copies within one part
    one is kept, a copy of a held-out photo is taken out of train, and a photo filed under two classes is left out.
    Whatever is left out so is added to the problems.

    Raises:
        DataError: no class has enough different photos to hold one out.
    """
    train, val, test, problems = divide(folder, seed=seed)
    where = folder.root if folder.origin is None else folder.origin.source or "x"
    if not val:
        raise DataError(
            f"No class of {where} has 2 different photos, so none can be held out for validation. Add photos."
        )
    missing = sorted(set(range(len(folder.classes))) - {label for photo in train for label in labels_of(photo)})
    if missing:
        raise DataError(
            f"Every photo of class {folder.classes[missing[0]]!r} in {where} is a copy of one that is held out "
            "or of another class. Add photos to it."
        )
    return PhotoSet(
        root=folder.root,
        kind=folder.kind,
        classes=folder.classes,
        train=tuple(train),
        val=tuple(val),
        test=tuple(test),
        problems=(*folder.problems, *problems),
        origin=folder.origin,
    )


def divide(folder: Folder, *, seed: int) -> tuple[list[Photo], list[Photo], list[Photo], list[Problem]]:
    """Returns train, val, test and what is left out, by the rule of `split`, however few there are of them."""
    photos, problems = _without_copies(folder)
    if folder.kind == "splits":
        train, test = photos["train"], photos.get("test", [])
        val = photos.get("val", [])
        if not val:
            train, val = _take(train, VAL_FRACTION, seed=seed)
    else:
        # Of two photos of a class one is validated on: training needs that more than a test does.
        rest, test = _take(photos["all"], TEST_FRACTION, seed=seed, least=3)
        train, val = _take(rest, VAL_FRACTION / (1 - TEST_FRACTION), seed=seed + 1)
    return train, val, test, problems


def _without_copies(folder: Folder) -> tuple[dict[str, list[Photo]], list[Problem]]:
    """Keeps one of identical files: the one in test before val before train; none when their classes differ."""
    groups: dict[str, list[Photo]] = defaultdict(list)
    for name in ("all", "test", "val", "train"):
        for photo in folder.photos.get(name, []):
            groups[photo.sha256].append(photo)
    problems, dropped = [], set()
    for first, *copies in groups.values():
        labels = {labels_of(photo) for photo in (first, *copies)}
        if len(labels) > 1:
            names = " and ".join("|".join(folder.classes[i] for i in own) or "nothing" for own in sorted(labels))
            copies, reason = [first, *copies], f"the same photo is filed under {names}"
        else:
            reason = f"the same photo as {first.path}"
        dropped |= {photo.path for photo in copies}
        problems += [Problem(photo.path, reason) for photo in copies]
    kept = {name: [p for p in photos if p.path not in dropped] for name, photos in folder.photos.items()}
    return kept, problems


def _take(photos: list[Photo], fraction: float, *, seed: int, least: int = 2) -> tuple[list[Photo], list[Photo]]:
    """Splits off a seeded, stratified fraction: at least one photo of each class that has `least`.

    The choice depends on the photos' hashes, not on their names or the order of the file system.
    """
    if any(photo.labels is not None for photo in photos):
        return take_evenly(photos, fraction, seed=seed, least=least)
    kept, taken = [], []
    for label in sorted({photo.label for photo in photos}):
        members = sorted((photo for photo in photos if photo.label == label), key=lambda photo: photo.sha256)
        order = np.random.default_rng([seed, label]).permutation(len(members))
        count = max(round(len(members) * fraction), 1) if len(members) >= least else 0
        taken += [members[i] for i in order[:count]]
        kept += [members[i] for i in order[count:]]
    return sorted(kept, key=lambda photo: photo.path), sorted(taken, key=lambda photo: photo.path)
