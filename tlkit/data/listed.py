"""Photos that a table lists: one row a photo, with its path, its label and perhaps its split."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tlkit.data.discover import Folder, Photo, Problem, check_all, check_enough
from tlkit.data.inside import LEAVES, confusable
from tlkit.data.label_cells import label_cells
from tlkit.data.origin import Origin
from tlkit.data.split_names import SPLIT_NAMES
from tlkit.data.table_file import Table, read_table
from tlkit.errors import DataError, did_you_mean, some
from tlkit.names import class_name_problem
from tlkit.progress import Progress

# Names of columns, without capitals, spaces, `_` and `-`.
PATHS = ("path", "file", "filename", "filepath", "image", "imagepath", "imagefile")
LABELS = ("label", "class", "classname", "category", "target")
SEVERAL = (*LABELS, "labels", "classes", "classnames", "categories", "targets", "tags")
SPLITS = ("split",)
_HELD_FIRST = {"test": 0, "val": 1, "train": 2, "all": 3}


@dataclass(frozen=True)
class _Entry:
    """A row that names a file: where the row is, the file's full path, its labels and its split, or `all`."""

    where: str
    file: str
    labels: tuple[str, ...]
    split: str

    @property
    def label(self) -> str:
        """As messages have it."""
        return "|".join(self.labels) or "nothing"


def listed(
    path: Path,
    *,
    strict: bool = False,
    known: Sequence[str] | None = None,
    multi_label: bool = False,
    progress: Progress | None = None,
) -> Folder:
    """Finds and checks every photo that a table lists; each is then treated as if it lay in a folder of its class.

    Paths are relative to the table's folder, which is the root. Where all photos lie outside of it, the root is the
    innermost folder that holds them all. Of rows for the same file one is kept, that of test before val before train.

    Args:
        path: The .csv, .tsv or .parquet file.
        strict: Makes any problem an error.
        known: The classes of a model, in its order: labels must be among them, and of a table with splits only the
            test photos are taken, or val where there are none.
        multi_label: Whether a photo may have any number of labels; see `label_cells`.
        progress: Shows a bar.

    Raises:
        DataError: the table can't be read, has no such columns, an unknown split, labels that can't be classes, fewer
            than 2 classes, a class without a usable photo, or, with `strict`, any problem.
    """
    table, progress = read_table(path.absolute()), progress or Progress()
    problems: list[Problem] = []
    entries = _entries(table, problems, multi_label=multi_label)
    if not multi_label and any("|" in entry.label for entry in entries):
        progress.warn(f"{path} has labels with '|', taken as one. Where it stands between labels, say --multi-label.")
    if known is not None and any(entry.split != "all" for entry in entries):
        entries = _held_out(table, entries)
    root = _root(table, entries)
    entries = _distinct(_inside(root, entries, problems), problems, root)
    splits = sorted({entry.split for entry in entries}, key=("train", "val", "test", "all").index)
    classes = tuple(known) if known is not None else _classes(table, entries)
    _check_labels(table, entries, classes, known=known is not None)
    photos, unusable = _checked(root, entries, splits, classes, multi_label=multi_label, progress=progress)
    problems += unusable
    usable = photos.get("train" if "train" in splits else "all", [])
    check_enough(table.path, classes if known is None else (), usable, problems, strict=strict)
    kind: Literal["classes", "splits"] = "splits" if "train" in splits else "classes"
    origin = Origin(kind=table.path.suffix.lower().lstrip("."), source=str(table.path))  # type: ignore[arg-type]
    return Folder(root=root, kind=kind, classes=classes, photos=photos, problems=problems, origin=origin)


def _checked(
    root: Path,
    entries: list[_Entry],
    splits: Sequence[str],
    classes: Sequence[str],
    *,
    multi_label: bool,
    progress: Progress,
) -> tuple[dict[str, list[Photo]], list[Problem]]:
    """Hashes and checks the files, sorted by split, labels and path."""
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [tuple(sorted(numbers[name] for name in entry.labels)) for entry in entries]
    kinds = sorted(set(labels))
    index = {kind: number if multi_label else kind[0] for number, kind in enumerate(kinds)}
    rows = [(splits.index(entry.split), index[own], entry.file) for entry, own in zip(entries, labels, strict=True)]
    found = [(splits[split], Path(file), number) for split, number, file in sorted(rows)]
    photos, problems = check_all(root, tuple(splits), found, progress)
    if multi_label:
        photos = {
            split: [replace(photo, label=-1, labels=kinds[photo.label]) for photo in part]
            for split, part in photos.items()
        }
    return photos, problems


def _column(table: Table, names: Sequence[str], what: str) -> int | None:
    """Returns the index of the column with one of these names."""
    plain = ["".join(filter(str.isalnum, column.lower())) for column in table.columns]
    found = [i for i, name in enumerate(plain) if name in names]
    if len(found) > 1:
        both = " and ".join(repr(table.columns[i]) for i in found)
        raise DataError(f"{table.path} has the columns {both}: either could hold the {what}. Rename or remove one.")
    return found[0] if found else None


def _needed(table: Table, names: Sequence[str], what: str) -> int:
    if (column := _column(table, names, what)) is None:
        hint = " A column of several labels needs --multi-label." if "labels" in table.columns else ""
        raise DataError(
            f"{table.path} has no column for the {what}: one called {', '.join(names[:-1])} or {names[-1]}. Its "
            f"columns are: {some(map(repr, table.columns), 20)}. The first line must name them.{hint}"
        )
    return column


def _entries(table: Table, problems: list[Problem], *, multi_label: bool) -> list[_Entry]:
    """Returns the rows that can be used; what is missing in the others is added to the problems."""
    path, split = _needed(table, PATHS, "paths"), _column(table, SPLITS, "splits")
    if multi_label:
        others = {path} if split is None else {path, split}
        labels = label_cells(table, _column(table, SEVERAL, "labels"), others)
    else:
        label = _needed(table, LABELS, "labels")
        labels = [(row[label],) if row[label] else () for row in table.rows]
    if split is not None and not any(row[split] for row in table.rows):
        split = None
    entries = []
    for i, row in enumerate(table.rows):
        where = table.where(i)
        name = "all" if split is None else _split(table, i, row[split])
        if not row[path] or "\0" in row[path]:
            problems.append(Problem(where, "no path"))
        elif not labels[i] and not multi_label:
            problems.append(Problem(row[path], f"no label ({where})"))
        else:
            written = row[path].replace("\\", "/")  # as Windows writes them
            file = os.path.normpath(os.path.join(table.path.parent, written))
            entries.append(_Entry(where, file, labels[i], name))
    if not entries:
        raise DataError(f"{table.path} lists no photo with a path and a label.")
    return entries


def _split(table: Table, row: int, text: str) -> str:
    if split := SPLIT_NAMES.get(text.lower()):
        return split
    given = f"has the split {text!r}" if text else "has no split"
    raise DataError(f"{table.where(row)} {given}. A split is train, val (or valid, validation) or test.")


def _held_out(table: Table, entries: list[_Entry]) -> list[_Entry]:
    """Returns the rows whose photos a model has not seen: test, or val."""
    for name in ("test", "val"):
        if chosen := [_Entry(e.where, e.file, e.labels, "all") for e in entries if e.split == name]:
            return chosen
    raise DataError(f"{table.path} lists train photos only: nothing is held out. Leave its column of splits out.")


def _root(table: Table, entries: list[_Entry]) -> Path:
    """Returns the table's folder, or where all photos are elsewhere, the innermost folder that holds them."""
    home = table.path.parent
    folders = {os.path.dirname(entry.file) for entry in entries}
    if any(Path(folder).is_relative_to(home) for folder in folders):
        return home
    try:
        common = Path(os.path.commonpath(sorted(folders)))
    except ValueError:  # on several drives
        common = Path(home.anchor)
    if common == Path(common.anchor):
        raise DataError(
            f"The photos that {table.path} lists have no folder in common. Put them into one folder, with the table."
        )
    return common


def _inside(root: Path, entries: list[_Entry], problems: list[Problem]) -> list[_Entry]:
    """Leaves out what is not below the root, also after links between them are followed."""
    real = os.path.realpath(root)
    folders = {os.path.dirname(entry.file) for entry in entries}
    outside = {folder for folder in folders if not Path(folder).is_relative_to(root)}
    leaves = {folder for folder in folders - outside if not Path(os.path.realpath(folder)).is_relative_to(real)}
    kept = []
    for entry in entries:
        folder = os.path.dirname(entry.file)
        if folder in outside:
            problems.append(Problem(entry.file, f"outside of {root}, where the others are ({entry.where})"))
        elif folder in leaves:
            problems.append(Problem(_below(entry.file, root), LEAVES))
        else:
            kept.append(entry)
    return kept


def _below(file: str, root: Path) -> str:
    return Path(file).relative_to(root).as_posix()


def _distinct(entries: list[_Entry], problems: list[Problem], root: Path) -> list[_Entry]:
    """Keeps one row for each file, and none where its rows have different labels."""
    by_file: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        by_file[entry.file].append(entry)
    kept = []
    for file, rows in by_file.items():
        first, *others = sorted(rows, key=lambda entry: _HELD_FIRST[entry.split])
        if len({entry.labels for entry in rows}) > 1:
            listed_as = " and ".join(f"{entry.label} ({entry.where})" for entry in rows[:3])
            problems.append(Problem(_below(file, root), f"listed as {listed_as}"))
            continue
        kept.append(first)
        problems += [Problem(entry.where, f"lists {_below(file, root)} again, like {first.where}") for entry in others]
    return kept


def _classes(table: Table, entries: list[_Entry]) -> tuple[str, ...]:
    """Returns the classes, sorted by name as those of folders are."""
    splits = {entry.split for entry in entries}
    if "all" not in splits and "train" not in splits:
        raise DataError(f"{table.path} lists {' and '.join(sorted(splits))} photos but none to train on.")
    classes = tuple(sorted({name for entry in entries if entry.split in ("all", "train") for name in entry.labels}))
    for name in classes:
        if problem := class_name_problem(name):
            where = next(entry.where for entry in entries if name in entry.labels)
            raise DataError(f"The label {name!r} ({where}) can't be a class: its name {problem}. Rename it.")
    if pair := confusable(classes):
        raise DataError(f"The labels {pair[0]!r} and {pair[1]!r} in {table.path} differ only in case or accents.")
    if len(classes) < 2:
        raise DataError(
            f"{table.path} has only one label, {some(map(repr, classes))}. A classifier needs at least 2 classes."
        )
    return classes


def _check_labels(table: Table, entries: list[_Entry], classes: tuple[str, ...], *, known: bool) -> None:
    """Checks that every label is a class: of the model, or of the photos to train on."""
    names = set(classes)
    unknown = [(name, entry) for entry in entries for name in entry.labels if name not in names]
    if not unknown:
        return
    labels, (name, first) = some(sorted({name for name, _ in unknown})), unknown[0]
    if known:
        raise DataError(
            f"{table.path} has labels that are no class of the model: {labels}."
            f"{did_you_mean(name, classes)} It knows: {some(classes, 20)}"
        )
    raise DataError(
        f"{table.path} has labels that no train photo has: {labels} ({first.where}). A model can't learn what it "
        f"never sees; add train photos, or take them out of {first.split}."
    )
