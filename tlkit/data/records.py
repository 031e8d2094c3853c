"""TFRecord files of tf.train.Example: unpacked once into the cache, where they are a folder of photos like any other.

The features are those that TensorFlow Datasets and TensorFlow's research models write: an encoded image under
`image/encoded`, `image` or `image_raw`, its class under `image/class/text`, `image/class/label` or `label`.
"""

import glob
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.data.cache import cache_folder, make_room
from tlkit.data.discover import SPLIT_NAMES
from tlkit.errors import DataError, some
from tlkit.manifest import sha256_of
from tlkit.names import class_name_problem
from tlkit.progress import Progress

if TYPE_CHECKING:
    import tensorflow as tf

VERSION = 1  # of what unpacking does
IMAGES = ("image/encoded", "image", "image_raw")
LABELS = ("image/class/text", "image/class/label", "label")
# TensorFlow Datasets writes the names of its numbered classes here, one a line.
NAMES = "label.labels.txt"
_NAMED = re.compile(r"(\.(tfrecords?|tfrec)(-\d+-of-\d+)?|-\d{5}-of-\d{5})(\.gz)?", re.IGNORECASE)
_MORE = 256 * 2**20
# How the files begin that Pillow reads for us.
_BEGINNINGS = {b"\xff\xd8": "jpg", b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp", b"RIFF": "webp"}


def record_files(data: Path) -> list[Path]:
    """Returns the TFRecord files that a path names, sorted; none if it names something else.

    Args:
        data: A file, a pattern, or a folder that holds such files and no folders.
    """
    if data.is_dir():
        try:
            inside = [path for path in data.iterdir() if not path.name.startswith(".")]
        except OSError:  # whoever reads the folder will say so
            return []
        found = [] if any(path.is_dir() for path in inside) else inside
    elif data.is_file():
        found = [data]
    else:
        found = [Path(name) for name in glob.glob(str(data), recursive=True)] if glob.has_magic(str(data)) else []
    return sorted(path for path in found if path.is_file() and _ending(path.name))


def _ending(name: str) -> re.Match[str] | None:
    return next((match for match in _NAMED.finditer(name) if match.end() == len(name)), None)


def unpack(data: Path, progress: Progress | None = None) -> Path:
    """Returns `<cache>/tfrecord-<key>/<class>/<sha256>.<ext>`, made on first use, whole or not at all.

    Where there are several files whose names hold train, val and test, there is a folder for each split around those
    of the classes. The key is made of the contents of the files.

    Args:
        data: What `record_files` takes.
        progress: Shows a bar.

    Raises:
        DataError: a record is damaged, is no Example, or has no image or class; the cache can't be written.
    """
    progress, files = progress or Progress(), record_files(data)
    splits = _splits(files)
    key = hashlib.sha256(str(VERSION).encode())
    with progress.bar("Reading records", len(files), "files") as bar:
        for file in files:
            key.update(f"\n{splits[file]} {sha256_of(file)} {'|'.join(_names(file))}".encode())
            bar.advance()
    folder = cache_folder() / f"tfrecord-{key.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(3)}")
    if reason := make_room(sum(file.stat().st_size for file in files), "the photos"):
        raise DataError(f"The records {data} can't be unpacked: {reason}. See: tlkit cache")
    try:
        _write(temporary, splits, progress)
        os.replace(temporary, folder)
    except OSError as err:
        if not folder.is_dir():  # else another process was faster
            raise DataError(
                f"The records {data} can't be unpacked to {folder}: {err.strerror}. Set TLKIT_CACHE to a folder that "
                "can be written."
            ) from err
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _splits(files: list[Path]) -> dict[Path, str]:
    """Returns the split of each file, empty where names tell none."""
    named = {
        file: {SPLIT_NAMES[w] for w in re.findall("[a-z]+", file.name.lower()) if w in SPLIT_NAMES} for file in files
    }
    splits = {file: next(iter(found)) if len(found) == 1 else "" for file, found in named.items()}
    different = set(splits.values())
    if len(different) == 1:
        return dict.fromkeys(files, "")
    if "" in different:
        unclear = next(file.name for file, split in splits.items() if not split)
        raise DataError(
            f"The names of some record files say train, val or test, but that of {unclear} does not. Rename it, or "
            "give only one kind of files."
        )
    if "train" not in different:
        raise DataError(f"There are record files for {' and '.join(sorted(different))}, but none for train. Add them.")
    return splits


def _names(file: Path) -> list[str]:
    """Returns the names of numbered classes, if a file beside the records lists them."""
    try:
        return (file.parent / NAMES).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _write(folder: Path, splits: dict[Path, str], progress: Progress) -> None:
    room = size = sum(file.stat().st_size for file in splits)
    written, encoded = 0, False
    with progress.bar("Unpacking records", size, "bytes") as bar:
        for file, split in splits.items():
            names = _names(file)
            for where, example in _examples(file):
                content = _content(example, where)
                suffix = next((s for begins, s in _BEGINNINGS.items() if content.startswith(begins)), "unknown")
                encoded |= suffix != "unknown"
                place = folder / split / _label(example, where, names)
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{hashlib.sha256(content).hexdigest()}.{suffix}").write_bytes(content)
                bar.advance(len(content))
                written += len(content)
                if written > room:  # as compressed records may
                    room += _MORE
                    if reason := make_room(_MORE, "the next photos"):
                        raise DataError(f"The records in {file.parent} can't be unpacked: {reason}. See: tlkit cache")
    if not encoded:
        raise DataError(
            f"No record of {some(file.name for file in splits)} holds a JPEG, PNG, BMP, GIF or WebP image. Raw pixels "
            "have to be encoded, such as by tf.io.encode_png."
        )


def _examples(file: Path) -> Iterator[tuple[str, "tf.train.Example"]]:
    """Yields where each record is, and what it holds."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    compression = "GZIP" if file.name.lower().endswith(".gz") else ""
    records, number = iter(tf.data.TFRecordDataset(str(file), compression, buffer_size=2**20)), 0
    while True:
        number += 1
        where = f"{file}, record {number}"
        try:
            content = next(records, None)
            if content is None:
                return
            yield where, tf.train.Example.FromString(content.numpy())
        except tf.errors.OpError as err:
            raise DataError(
                f"{where} is damaged, or this is no TFRecord file. Copy it again, or write it again."
            ) from err
        except DecodeError as err:
            raise DataError(f"{where} is no tf.train.Example. Write the photos as Examples.") from err


def _content(example: "tf.train.Example", where: str) -> bytes:
    features = example.features.feature
    for name in IMAGES:
        if name in features and len(values := features[name].bytes_list.value) == 1:
            return values[0]
    raise DataError(_missing("encoded image", IMAGES, features, where))


def _label(example: "tf.train.Example", where: str, names: list[str]) -> str:
    """Returns the name of an example's class; a number is looked up in `names`."""
    features = example.features.feature
    for key in LABELS:
        if key not in features:
            continue
        texts, numbers = features[key].bytes_list.value, features[key].int64_list.value
        if len(texts) + len(numbers) != 1 or list(texts) == [b""]:
            continue
        name = texts[0].decode(errors="replace") if texts else str(numbers[0])
        if numbers and 0 <= numbers[0] < len(names):
            name = names[numbers[0]]
        if problem := class_name_problem(name) or ("begins with a dot" if name.startswith(".") else None):
            raise DataError(f"The class {name!r} ({where}) can't be one: its name {problem}. Write it otherwise.")
        return name
    raise DataError(_missing("single class", LABELS, features, where))


def _missing(what: str, names: tuple[str, ...], features: Any, where: str) -> str:  # noqa: ANN401
    there = some(sorted(features), 20) or "none"
    return f"{where} has no {what}: a feature {', '.join(names[:-1])} or {names[-1]}. Its features are: {there}."
