"""What belongs to a folder of photos: links that leave it do not, and names that only some systems tell apart can't."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tlkit.errors import DataError

LEAVES = "a link that leaves the folder: copy its target into it"
_PASSED_OVER = {"__macosx", "thumbs.db", "desktop.ini"}


def stays_inside(path: str | Path, root: Path) -> bool:
    """Whether `path` is below `root` after all links are followed, those of `root` itself too."""
    return not os.path.islink(path) or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or leads to one; a link to itself does not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def confusable(names: Iterable[str]) -> tuple[str, str] | None:
    """Returns two names that a file system which ignores case, or composes accents, takes for one; or None."""
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())
        if key in seen:
            return seen[key], name
        seen[key] = name
    return None


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """Lists a folder, sorted by name, without what is passed over."""
    try:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _PASSED_OVER]
    except OSError as err:
        raise DataError(f"The folder {folder} can't be read: {err.strerror}. Check its permissions.") from err
    return sorted(kept, key=lambda entry: entry.name)
