"""Sizes in bytes, as people write and read them."""

import os
import re
from pathlib import Path

from tlkit.errors import OptionError

_UNITS = {
    "B": 1,
    **{f"{letter}B": 1000**i for i, letter in enumerate("KMGT", start=1)},
    **{f"{letter}IB": 1024**i for i, letter in enumerate("KMGT", start=1)},
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def parse_size(text: str) -> int:
    """Returns the bytes that `500MB`, `1.5TB` or `32GiB` stand for; case does not matter.

    Raises:
        OptionError: it is none of these, or less than a byte.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size < 1:
        raise OptionError(f"{text!r} is no size. Write a number and a unit: 500MB, 20GB, 1.5TB or 32GiB.")
    return size


def size_text(size: float) -> str:
    """Returns a size in decimal units: `12.3 MB`."""
    for unit in ("B", "kB", "MB"):
        if size < 999.95:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def bytes_in(path: Path) -> int:
    """Returns the bytes of a file, or of all files below a folder. Links are not followed, what is gone counts 0."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        with os.scandir(path) as entries:
            return sum(bytes_in(Path(entry.path)) for entry in entries)
    except OSError:
        return 0


def time_text(seconds: float) -> str:
    """Returns a time as people say it, to two digits at most: `40 seconds`, `12 minutes`, `3.5 hours`."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(1, round(seconds))} seconds"
