"""A run's photos, found again: where they were, or in a new place by their hashes."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tlkit.data.arrays import VERIFICATION
from tlkit.data.calibration import DEFAULT_CALIBRATION
from tlkit.data.discover import Photo
from tlkit.data.records import record_files, unpack
from tlkit.data.table_file import is_table
from tlkit.errors import DataError, some
from tlkit.preprocess import MAX_BYTES


def photos_of(manifest: dict[str, Any], *splits: str) -> list[Photo]:
    """Returns the photos that the manifest lists in these splits."""
    return [_photo(entry) for split in splits for entry in manifest["split"][split]]


def _photo(entry: dict[str, Any]) -> Photo:
    if "labels" not in entry:
        return Photo(**entry)
    return Photo(entry["path"], -1, entry["sha256"], labels=tuple(entry["labels"]))


def find_again(
    manifest: dict[str, Any],
    photos: Sequence[Photo],
    new_root: str | Path | None,
    *,
    run: Path | None = None,
    option: str = "--data",
    limit: str = "--calibration takes no more",
) -> tuple[Path, list[Photo]]:
    """Returns a root and photos with paths below it, every file's hash checked.

    Args:
        manifest: Of the run, for the recorded root.
        photos: Some of the run's photos.
        new_root: Where they are now, under whatever names; None when nothing has moved.
        run: Its folder, in which images from arrays are.
        option: That says `new_root`, for messages.
        limit: What follows from a run's keeping few of its training images, when it was trained on arrays; likewise.

    Raises:
        DataError: some are missing or changed; the message names them and says what to do.
    """
    if new_root is not None:
        new_root = _place(Path(new_root).expanduser())
        if not new_root.is_dir():
            raise DataError(
                f"There is no folder {new_root}. Give {option} the folder in which the run's photos are now."
            )
    root = new_root or _recorded_root(manifest["data"], run)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        same = list(pool.map(lambda photo: _sha256(root / photo.path) == photo.sha256, photos))
        if all(same):
            return root, list(photos)
        if new_root is None:
            lost = [photo.path for photo, ok in zip(photos, same, strict=True) if not ok]
            if manifest["data"].get("kind") == "arrays":
                raise DataError(
                    f"{len(lost)} of {len(photos)} images are not in {root}: {some(lost, 3)}. A run from arrays keeps "
                    f"what was not trained on, and {DEFAULT_CALIBRATION} training images: {limit}."
                )
            raise DataError(
                f"{len(lost)} of {len(photos)} photos of this run are not in {root} any more, or have changed: "
                f"{some(lost, 3)}. Put them back, or say where they are now: {option} NEWROOT"
            )
        files = [path for path in sorted(new_root.rglob("*")) if path.is_file()]
        by_hash = dict(zip(pool.map(_sha256, files), files, strict=True))
    lost = [photo.path for photo in photos if photo.sha256 not in by_hash]
    if lost:
        raise DataError(
            f"{len(lost)} of {len(photos)} photos of this run are nowhere in {new_root}: {some(lost, 3)}. "
            "They are recognized by their contents, so they may be renamed but not edited."
        )
    moved = [replace(photo, path=by_hash[photo.sha256].relative_to(new_root).as_posix()) for photo in photos]
    return root, moved


def _place(data: Path) -> Path:
    """Returns the folder in which the photos of a table or of TFRecord files are; of a folder, that folder."""
    if is_table(data):
        return data.parent
    return unpack(data) if record_files(data) else data


def _recorded_root(data: dict[str, Any], run: Path | None) -> Path:
    """Returns where a run's photos were. Records are unpacked again if the cache was cleared since."""
    if data.get("kind") == "arrays" and run is not None:
        return run / VERIFICATION
    root = Path(data["root"])
    if root.is_dir() or data.get("kind") != "tfrecord":
        return root
    source = Path(data.get("source", ""))
    if not record_files(source):
        raise DataError(
            f"The photos of this run were unpacked from {source} into the cache, and neither is there any more. Put "
            "the records back, or say where they are now: --data NEWROOT"
        )
    return unpack(source)


def _sha256(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None  # a pipe would be waited for, and no photo is that large
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
