"""What tlkit puts into a .tflite file beside the model: its labels, and what it says about itself.

Needs neither NumPy nor a runtime: reading a file's labels takes no time.
"""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from tlkit.errors import TlkitError
from tlkit.names import class_name_problem

_MOST_BYTES = 64 * 2**20  # of labels or metadata


def pack(path: Path, *, labels: list[str], about: dict[str, Any]) -> None:
    """Appends `labels.txt` and `tlkit.json` to a .tflite file as an uncompressed zip; runtimes ignore both.

    `zipfile.ZipFile(path)` opens the result, and so does any unzip.
    """
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("labels.txt"), "".join(f"{label}\n" for label in labels))
        archive.writestr(_entry("tlkit.json"), json.dumps(about, ensure_ascii=False, indent=1))


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name)  # its date is 1980: the same model gives the same bytes


def unpack(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Reads what `pack` wrote: the labels, in order, and what the file says about itself.

    Raises:
        TlkitError: the file has no such parts, a label that can't be one, or is no .tflite file at all.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if start[4:] != b"TFL3":
        what = "is empty" if not start else "is not a TensorFlow Lite model"
        raise TlkitError(f"{path} {what}. Export one with: tlkit export --to tflite")
    try:
        with zipfile.ZipFile(path) as archive:
            labels = _read(archive, "labels.txt").decode().splitlines()
            about = json.loads(_read(archive, "tlkit.json"))
        if not isinstance(about, dict):
            raise ValueError("tlkit.json holds no object")
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, EOFError, OSError, zlib.error) as err:
        raise TlkitError(
            f"{path} carries no labels of tlkit's: it is of another origin, or cut off. "
            "Export it with: tlkit export --to tflite"
        ) from err
    for label in labels:
        if problem := class_name_problem(label):
            raise TlkitError(f"{path} carries the label {label!r}, which {problem}. Export it again.")
    return labels, about


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """Reads a part as `pack` stores it, uncompressed: a few bytes can't unpack to gigabytes."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError(f"{name} is too large")
    return archive.read(name)
