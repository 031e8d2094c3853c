"""More photos for a run that has some: those it had keep their part, the others are split by the usual rule.

So nothing that was held out is ever trained on, and nothing that was trained on is tested.
"""

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlkit.data.digits import digits_folder
from tlkit.data.discover import Folder, Photo, Problem
from tlkit.data.inside import confusable
from tlkit.data.recorded import find_again, photos_of
from tlkit.data.split import PhotoSet, divide
from tlkit.errors import DataError
from tlkit.names import path_problem

PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Grown:
    """The photos of a run and more.

    Attributes:
        photos: All of them, below one root; the old classes come first, in their order.
        new_classes: Sorted.
        known: How many files of the folder the run had already.
        added: How many photos are new.
        corrected: How many of the run's photos lie under another class now.
    """

    photos: PhotoSet
    new_classes: tuple[str, ...]
    known: int
    added: int
    corrected: int


def grown(manifest: dict[str, Any], more: Folder, *, old_root: str | Path | None = None, seed: int) -> Grown:
    """Joins the photos of a run with those of a folder.

    A photo that the run had keeps its part (train, val or test) wherever the folder has it, and its class, unless it
    was moved to the folder of another one. A photo that is filed under two classes is left out.

    Args:
        manifest: Of the run.
        more: What is in the folder: old classes, new ones, or both.
        old_root: Where the run's photos are now, if they have moved.
        seed: Of the split of what is new.

    Raises:
        DataError: the run's photos can't be found, names of classes differ only in case, nothing is new, or a class is
            left without a photo to train on.
    """
    old = tuple(manifest["classes"])
    new = tuple(sorted(set(more.classes) - set(old)))
    classes = old + new
    if pair := confusable(classes):
        raise DataError(
            f"The class {pair[1]!r} in {more.root} and the run's class {pair[0]!r} differ only in case or in how "
            "accents are encoded: other systems take them for one. Rename the folder as the run's class is called."
        )
    home, parts = _located(manifest, more, old_root)
    labels = [classes.index(name) for name in more.classes]
    offered: dict[str, list[Photo]] = defaultdict(list)
    for photos in more.photos.values():
        for photo in photos:
            offered[photo.sha256].append(replace(photo, label=labels[photo.label]))
    kept, problems, corrected = _kept(parts, offered, classes, inside=_same(home, more.root))
    had = {photo.sha256 for photos in parts.values() for photo in photos}
    fresh = {
        part: [replace(photo, label=labels[photo.label]) for photo in photos if photo.sha256 not in had]
        for part, photos in more.photos.items()
    }
    known = sum(len(photos) for sha256, photos in offered.items() if sha256 in had)
    added = divide(Folder(root=more.root, kind=more.kind, classes=classes, photos=fresh, problems=[]), seed=seed)
    count = sum(len(part) for part in added[:3])
    if not count and not corrected:
        raise DataError(
            f"Nothing in {more.root} is new: the run had all {known} of its photos. Add photos, or name another folder."
        )
    root = _common(home, more.root)
    joined = {
        name: tuple(_below(root, home, kept[name]) + _below(root, more.root, photos))
        for name, photos in zip(PARTS, added[:3], strict=True)
    }
    left_out = [*_below(root, home, problems), *_below(root, more.root, [*more.problems, *added[3]])]
    _check_every_class(classes, joined["train"], more.root)
    train, val, test = (joined[name] for name in PARTS)
    everything = PhotoSet(
        root=root, kind="classes", classes=classes, train=train, val=val, test=test, problems=tuple(left_out)
    )
    return Grown(photos=everything, new_classes=new, known=known, added=count, corrected=corrected)


def _located(
    manifest: dict[str, Any], more: Folder, old_root: str | Path | None
) -> tuple[Path, dict[str, list[Photo]]]:
    """Finds the run's photos where they were, where the user says, or among the new ones."""
    splits = {name: photos_of(manifest, name) for name in PARTS}
    everything = [photo for part in splits.values() for photo in part]
    if old_root is None and manifest["data"]["kind"] == "digits":
        old_root = digits_folder()  # the cache that holds them may have been cleared, or moved
    try:
        root, found = find_again(manifest, everything, old_root, option="--parent-data")
    except DataError as err:
        if old_root is not None:
            raise
        try:
            root, found = find_again(manifest, everything, more.root)
        except DataError:
            raise err from None
    rest = iter(found)
    return root, {name: [next(rest) for _ in part] for name, part in splits.items()}


def _kept(
    parts: dict[str, list[Photo]], offered: dict[str, list[Photo]], classes: tuple[str, ...], *, inside: bool
) -> tuple[dict[str, list[Photo]], list[Problem], int]:
    """Returns the run's photos by part, those that are filed under two classes, and how many have another class now.

    `inside` tells whether the folder is where the run's photos are: then only what it says of a photo counts.
    """
    kept: dict[str, list[Photo]] = {name: [] for name in parts}
    problems: list[Problem] = []
    corrected = 0
    for name, photos in parts.items():
        for photo in photos:
            labels = {copy.label for copy in offered.get(photo.sha256, ())}
            if not (inside and labels):
                labels.add(photo.label)
            if len(labels) > 1:
                names = " and ".join(classes[label] for label in sorted(labels))
                problems.append(Problem(photo.path, f"the same photo is filed under {names}"))
                continue
            (label,) = labels
            corrected += label != photo.label
            kept[name].append(replace(photo, label=label))
    return kept, problems, corrected


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _common(home: Path, more: Path) -> Path:
    """Returns the closest folder that holds both: paths in a manifest are below one root."""
    try:
        return Path(os.path.commonpath([home.resolve(), more.resolve()]))
    except ValueError as err:
        raise DataError(
            f"{more} is on another drive than the photos of the run, {home}. Move one of them to the other's drive; "
            "photos that have moved are found with --parent-data."
        ) from err


def _below(root: Path, folder: Path, entries: list[Any]) -> list[Any]:
    """Returns photos or problems of a folder with paths below `root`."""
    prefix = folder.resolve().relative_to(root).as_posix()
    if prefix == ".":
        return list(entries)
    if problem := path_problem(prefix):
        raise DataError(f"The folder {folder} can't be recorded: its path {problem}. Rename it.")
    return [replace(entry, path=f"{prefix}/{entry.path}") for entry in entries]


def _check_every_class(classes: tuple[str, ...], train: tuple[Photo, ...], more: Path) -> None:
    missing = sorted(set(range(len(classes))) - {photo.label for photo in train})
    if missing:
        raise DataError(
            f"No photo of class {classes[missing[0]]!r} is left to train on: those in {more} are copies, or held out "
            "by the run, or filed under another class too. Add photos to it."
        )
