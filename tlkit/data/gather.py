"""Which photos a user means: files, folders, patterns that the shell left alone, and lists on standard input."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tlkit.errors import DataError

# Of the formats that are read.
SUFFIXES = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp"))


def gather(given: Iterable[str], stdin: Iterable[bytes]) -> tuple[list[str], list[str]]:
    """Returns the paths of photos, in the order given, and what is wrong with those that name none.

    What a folder or a pattern holds is sorted.

    Args:
        given: Files, which need not exist; folders, searched recursively for image files that are not hidden; patterns
            (`*`, `?`, `[...]`, `**`); `-` for `stdin`.
        stdin: Lines, each a path of these kinds.

    Raises:
        DataError: none of them names a photo.
    """
    found: list[str] = []
    problems: list[str] = []
    for path in _named(given, stdin, problems):
        try:
            found += _expand(path)
        except DataError as err:  # the others are not its fault
            problems.append(str(err))
    if problems and not found:
        raise DataError(problems[0])
    return found, problems


def _named(given: Iterable[str], stdin: Iterable[bytes], problems: list[str]) -> Iterator[str]:
    """Yields the paths that are given, with the list on standard input in the place of `-`."""
    for path in given:
        if path != "-":
            yield path
            continue
        lines = [os.fsdecode(line.rstrip(b"\r\n")) for line in stdin]
        named = [line for line in lines if line.strip()]
        if not named:
            problems.append("There is no path on standard input. Write one a line.")
        yield from named


def _expand(path: str) -> list[str]:
    if os.path.isdir(path):
        return _in_folder(path)
    if glob.has_magic(path) and not os.path.lexists(path):
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise DataError(f"No file matches {path}. Check the pattern.")
        if "**" in path:  # it has gone through the folders itself
            matches = [match for match in matches if not os.path.isdir(match)]
        return [photo for match in matches for photo in _expand(match)]
    if path.lower().endswith(".tflite"):
        raise DataError(f"{path} is a model, not a photo. Give it with: --model {path}")
    return [path]


def _in_folder(folder: str) -> list[str]:
    photos = sorted(_walk(folder))
    if not photos:
        raise DataError(f"The folder {folder} has no image files ({', '.join(sorted(SUFFIXES))}).")
    return photos


def _walk(folder: str) -> Iterator[str]:
    def refuse(err: OSError) -> None:
        raise DataError(f"The folder {err.filename} can't be read: {err.strerror}. Check its permissions.") from err

    for top, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield os.path.join(top, name)
