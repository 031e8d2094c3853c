"""What is in a folder: classes, photos, their hashes, and what can't be used.

`DIR/<class>/*`, or `DIR/{train,val,test}/<class>/*` when the folders' names say so.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from tlkit.data.inside import LEAVES, confusable, is_folder, stays_inside, visible
from tlkit.data.origin import Origin
from tlkit.data.split_names import SPLIT_NAMES, SplitName
from tlkit.errors import DataError, ImageError, did_you_mean, some
from tlkit.names import class_name_problem
from tlkit.preprocess import check_image
from tlkit.progress import Progress

# Photos that are under way at a time: what an interruption waits for, and what is held in memory.
_AT_ONCE = 512


@dataclass(frozen=True)
class Photo:
    """One usable image file: path relative to the root (with `/`), class index and sha256; or with -1, any labels."""

    path: str
    label: int
    sha256: str
    labels: tuple[int, ...] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Problem:
    """A file that is left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What discovery found.

    Attributes:
        root: The folder.
        kind: `classes` (one folder a class) or `splits` (train, val, test with classes inside).
        classes: Names, sorted; a photo's label is an index into them.
        photos: By split; with kind `classes` all are under `all`.
        problems: What was left out.
        origin: What the photos were listed in or unpacked from; None for a folder.
    """

    root: Path
    kind: Literal["classes", "splits"]
    classes: tuple[str, ...]
    photos: dict[str, list[Photo]]
    problems: list[Problem]
    origin: Origin | None = None


def discover(
    root: Path,
    *,
    strict: bool = False,
    known: Sequence[str] | None = None,
    progress: Progress | None = None,
    read: Callable[[Path], bytes] = check_image,
    least: int = 2,
) -> Folder:
    """Finds and checks every photo below `root`.

    Every file is read once: hashed, and decoded far enough to know that it can be. Hidden files, `__MACOSX`,
    `Thumbs.db` and `desktop.ini` are passed over in silence; all else that can't be used becomes a `Problem`.

    Args:
        root: The folder.
        strict: Makes any problem an error.
        known: The classes of a model, in its order. Folders are matched with them by name, and some may be missing;
            of a split layout only the test folder is looked at, or val where there is none. None: the folders are the
            classes.
        least: How many classes there must be.
        progress: Shows a bar.
        read: Checks a file and returns its bytes, as `check_image` does; is called in several threads.

    Raises:
        DataError: no such folder, fewer classes, a class without a usable photo, no usable photo at all, or,
            with `strict`, any problem. With `known`: a folder that is no class, or no usable photo.
    """
    if not root.exists():
        raise DataError(f"There is no folder {root}. Give --data a folder with one folder of photos per class.")
    if not root.is_dir():
        raise DataError(f"{root} is a file. Give --data a folder of photos, a .csv, .tsv, .parquet or .tfrecord file.")
    splits = _split_folders(root)
    if known is not None:
        root, splits = _held_out(root, splits), {}
    elif splits:
        _check_train(root, splits)
    tops: dict[str, Path] = {name: folder for name, folder in splits.items()} if splits else {"all": root}
    classes = _classes(tops["train" if splits else "all"], root, least) if known is None else tuple(known)
    if known is not None:
        _check_known(root, classes)
    elif splits:
        _check_same_classes(tops, classes, root)
    named = [(split, top / name, i) for split, top in tops.items() for i, name in enumerate(classes)]
    found = [(split, path, i) for split, folder, i in named for path in _files(folder, root)]
    photos, problems = check_all(root, tuple(tops), found, progress or Progress(), read)
    problems += [Problem(_shown(path, root), "not in a class folder") for path in _strays(root, tops)]
    problems += [Problem(_shown(path, root), LEAVES) for path in _links_out(root, tops, classes)]
    usable = photos["train" if splits else "all"]
    check_enough(root, classes if known is None else (), usable, problems, strict=strict)
    kind: Literal["classes", "splits"] = "splits" if splits else "classes"
    return Folder(root=root, kind=kind, classes=classes, photos=photos, problems=problems)


def _folders(folder: Path, root: Path) -> list[str]:
    """Lists folders by name, without those that hold runs of ours and links that leave `root`."""
    names = [entry.name for entry in visible(folder) if is_folder(entry) and stays_inside(entry.path, root)]
    return [name for name in names if not any((folder / name).glob("*/run.json"))]


def _files(folder: Path, root: Path) -> list[Path]:
    """Lists what is not a folder: files, but also broken links and devices, which are then reported."""
    if not folder.is_dir() or not stays_inside(folder, root):
        return []
    return [Path(entry.path) for entry in visible(folder) if not is_folder(entry)]


def _split_folders(root: Path) -> dict[SplitName, Path]:
    """Returns the folders of a split layout, or nothing when `root` holds classes.

    Folders with the names of splits are splits when they hold folders themselves; those of classes hold photos (and
    someone may have a class of trains).
    """
    splits: dict[SplitName, Path] = {}
    for name in _folders(root, root):
        split = SPLIT_NAMES.get(name.lower())
        if split is None or not _folders(root / name, root):
            continue
        if split in splits:
            raise DataError(f"{root} has two folders for {split}: {splits[split].name} and {name}. Keep one.")
        splits[split] = root / name
    return {name: splits[name] for name in ("train", "val", "test") if name in splits}


def _check_train(root: Path, splits: dict[SplitName, Path]) -> None:
    if "train" not in splits:
        found = some(sorted(folder.name for folder in splits.values()))
        raise DataError(f"{root} has {found} but no train folder. Add one, or give its classes directly.")


def _held_out(root: Path, splits: dict[SplitName, Path]) -> Path:
    """Returns the folder of a layout whose photos a model has not seen: test, or val."""
    if not splits:
        return root
    if folder := splits.get("test") or splits.get("val"):
        return folder
    raise DataError(
        f"{root} has {splits['train'].name} but no test or val folder: nothing is held out. Give the folder with the "
        f"classes itself, such as {splits['train']}"
    )


def _check_known(root: Path, known: tuple[str, ...]) -> None:
    """Checks that every folder in `root` is a class that the model knows."""
    folders = _folders(root, root)
    if unknown := [name for name in folders if name not in known]:
        raise DataError(
            f"{root} has folders that are no class of the model: {some(unknown)}.{did_you_mean(unknown[0], known)} "
            f"Name them as the model does, or take them out. It knows: {some(known, 20)}"
        )
    if not folders:
        raise DataError(
            f"{root} has no folders. Give a folder with one folder of photos for each class, named as the model's "
            f"classes: {some(known, 20)}"
        )


def _classes(top: Path, root: Path, least: int) -> tuple[str, ...]:
    """Returns the classes, sorted by name. The one place where their order is made."""
    classes = tuple(_folders(top, root))
    for name in classes:
        if problem := class_name_problem(name):
            raise DataError(f"The class folder {name!r} in {top} can't be a class: its name {problem}. Rename it.")
    if pair := confusable(classes):
        raise DataError(
            f"The class folders {pair[0]!r} and {pair[1]!r} in {top} differ only in case or in how accents are "
            "encoded: other systems take them for one. Rename one of them, or move its photos into the other."
        )
    if len(classes) < least:
        found = f"only one class, {classes[0]!r}" if classes else "no folders"
        links = [path.name for path in _links_out(root, {"all": top}, ())]
        left = f" Left out: {some(links)}: {LEAVES}." if links else ""
        raise DataError(
            f"{top} has {found}. A classifier needs at least 2 classes: one folder of photos for each, as in "
            f"{root.name}/cats/ and {root.name}/dogs/.{left}"
        )
    return classes


def _check_same_classes(tops: dict[str, Path], classes: tuple[str, ...], root: Path) -> None:
    for split, top in tops.items():
        if unknown := [name for name in _folders(top, root) if name not in classes]:
            raise DataError(
                f"{top} has classes that train has not: {some(unknown)}. A model can't learn what it never sees; "
                f"add them to train, or take them out of {split}."
            )


def _strays(root: Path, tops: dict[str, Path]) -> Iterable[Path]:
    """Yields what lies beside the class folders or the splits, and folders inside class folders."""
    for top in sorted({root, *tops.values()}):
        yield from _files(top, root)
    if "all" not in tops:
        yield from (root / name for name in _folders(root, root) if root / name not in tops.values())
    for top in tops.values():
        for name in _folders(top, root):
            yield from (top / name / inner for inner in _folders(top / name, root))


def _links_out(root: Path, tops: dict[str, Path], classes: Iterable[str]) -> Iterable[Path]:
    """Yields folders that are links out of `root`: they are not entered."""
    for folder in sorted({root, *tops.values(), *(top / name for top in tops.values() for name in classes)}):
        if folder.is_dir() and stays_inside(folder, root):
            yield from (Path(e.path) for e in visible(folder) if is_folder(e) and not stays_inside(e.path, root))


def check_all(
    root: Path,
    splits: tuple[str, ...],
    found: list[tuple[str, Path, int]],
    progress: Progress,
    read: Callable[[Path], bytes] = check_image,
) -> tuple[dict[str, list[Photo]], list[Problem]]:
    """Hashes and checks files in parallel: Pillow and hashlib let go of the interpreter's lock."""
    photos: dict[str, list[Photo]] = {split: [] for split in splits}
    problems: list[Problem] = []
    with progress.bar("Checking photos", len(found)) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(found), _AT_ONCE):
            some_files = found[start : start + _AT_ONCE]
            results = pool.map(lambda one: _check(one[1], root, read), some_files)
            for (split, path, label), (digest, reason) in zip(some_files, results, strict=True):
                relative = _shown(path, root)
                if reason:
                    problems.append(Problem(relative, reason))
                else:
                    photos[split].append(Photo(relative, label, digest))
                bar.advance()
    return photos, problems


def _shown(path: Path, root: Path) -> str:
    """Returns the path below `root` as text, bytes that are none escaped."""
    return path.relative_to(root).as_posix().encode(errors="backslashreplace").decode()


def _check(path: Path, root: Path, read: Callable[[Path], bytes]) -> tuple[str, str]:
    """Returns the sha256 of a file and the reason why it can't be used, one of them empty."""
    if not path.is_file():
        return "", "no such file" if not os.path.lexists(path) else "a broken link, or not a regular file"
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return "", "its name is not valid UTF-8"
    if "\\" in path.name:
        return "", "its name has a backslash, which separates folders on other systems"
    if not stays_inside(path, root):
        return "", LEAVES
    try:
        content = read(path)
    except ImageError as err:
        return "", str(err)
    return sha256(content).hexdigest(), ""


def check_enough(
    root: Path, classes: tuple[str, ...], photos: list[Photo], problems: list[Problem], *, strict: bool
) -> None:
    """Checks that there are photos, some of each class, and, with `strict`, no problems."""
    if problems and strict:
        listed = "".join(f"\n  {problem.path}: {problem.reason}" for problem in problems[:20])
        raise DataError(f"{len(problems)} files in {root} can't be used, and --strict was given:{listed}")
    reasons = "".join(f"\n  {problem.path}: {problem.reason}" for problem in problems[:5])
    if not photos and problems and all(problem.reason == LEAVES for problem in problems):
        raise DataError(f"Every photo in {root} is {LEAVES}.{reasons}")
    if not photos:
        raise DataError(f"No file in {root} is a readable image.{reasons}")
    used = {label for photo in photos for label in photo.labels or (photo.label,)}
    if empty := [name for label, name in enumerate(classes) if label not in used]:
        raise DataError(f"No usable photo in class {some(empty)} of {root}. Add photos, or remove the folder.{reasons}")
