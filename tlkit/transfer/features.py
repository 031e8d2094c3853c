"""What is frozen is computed once: the output of the frozen stages, cached on disk at the freeze boundary.

The key is everything that the output depends on: the photos' contents and views, the frozen weights, the preprocessing,
the input size, the boundary and the versions. It does not depend on the split, the head or the learning rate.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np

from tlkit.data import fast
from tlkit.data.augment import Augmentation
from tlkit.data.cache import cache_folder, make_room
from tlkit.data.discover import Photo
from tlkit.data.pipeline import Batch, Pixels, in_order
from tlkit.lock import exclusive
from tlkit.manifest import write_json
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.sizes import bytes_in
from tlkit.transfer.freeze import stage_of
from tlkit.transfer.inference import inference

CACHE_VERSION = 2
BATCH = 32
# Layers after the last frozen stage that have no weights and no randomness, and make its output smaller or leave it.
_SHRINKING = (keras.layers.GlobalAveragePooling2D, keras.layers.Flatten)


class NoRoomError(Exception):
    """Features can't be cached. The message is the reason, a part of a sentence; training goes on without."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A model cut at the freeze boundary; both parts share its layers.

    Attributes:
        base: Name of the whole model.
        boundary: The last layer of the backbone.
        backbone: From pixels to features, all frozen.
        tail: From features to logits.
    """

    base: str
    boundary: str
    backbone: keras.Model
    tail: keras.Model


def cut(model: keras.Model, frozen: Sequence[str]) -> Parts | None:
    """Cuts a model behind its frozen stages; None when nothing is frozen."""
    last = max((i for i, layer in enumerate(model.layers) if stage_of(layer.name) in frozen), default=None)
    if last is None:
        return None
    while isinstance(model.layers[last + 1], _SHRINKING):
        last += 1
    boundary = model.layers[last]
    return Parts(
        base=model.name,
        boundary=boundary.name,
        backbone=keras.Model(model.input, boundary.output),
        tail=keras.Model(boundary.output, model.output),
    )


def estimate_bytes(parts: Parts, samples: int) -> int:
    """Returns the size of the cache in bytes, before anything is computed."""
    return samples * int(np.prod(parts.backbone.output.shape[1:])) * 4


@dataclass(frozen=True, kw_only=True)
class Features:
    """The cached output of the frozen stages.

    Attributes:
        array: `[plain photos + views * viewed photos, ...]` float32, perhaps mapped from disk.
        plain: From the sha256 of a photo as it is to its row.
        viewed: From the sha256 of a photo with views to its place among them.
        reused: Whether an earlier run had computed them.
    """

    array: np.ndarray
    plain: dict[str, int]
    viewed: dict[str, int]
    reused: bool

    def rows(self, photos: Iterable[Photo], view: int | None = None) -> np.ndarray:
        """Returns the row of each photo, or of one view of each."""
        if view is None:
            return np.array([self.plain[photo.sha256] for photo in photos], np.int64)
        start = len(self.plain) + view * len(self.viewed)
        return start + np.array([self.viewed[photo.sha256] for photo in photos], np.int64)


class Wanted:
    """What features are wanted of: each photo once, the plain ones first, then view by view.

    Args:
        root: What the photos' paths are relative to.
        plain: Photos as they are.
        viewed: Photos of which every view is wanted, if there is augmentation.
        augmentation: Makes the views.
        spec: How a photo becomes pixels.
    """

    def __init__(
        self,
        *,
        root: Path,
        plain: Sequence[Photo],
        viewed: Sequence[Photo] = (),
        augmentation: Augmentation | None = None,
        spec: PreprocessSpec,
    ) -> None:
        self.root, self.augmentation, self.spec = root, augmentation, spec
        self.views = 0 if augmentation is None else augmentation.views or 0
        self.plain = _different(plain)
        self.viewed = _different(viewed) if self.views else []

    def __len__(self) -> int:
        return len(self.plain) + self.views * len(self.viewed)

    def batches(self, done: int) -> Iterator[Batch]:
        """Yields what follows the first `done` rows; indices point into `plain + viewed`, a batch is of one view."""
        parts = [(0, len(self.plain), None), *((len(self.plain), len(self.viewed), v) for v in range(self.views))]
        for first, count, view in parts:
            skip, done = min(done, count), max(0, done - count)
            for start in range(skip, count, BATCH):
                yield Batch(first + np.arange(start, min(start + BATCH, count)), view)


def _different(photos: Iterable[Photo]) -> list[Photo]:
    return sorted({photo.sha256: photo for photo in photos}.values(), key=lambda photo: photo.sha256)


def features_of(parts: Parts, wanted: Wanted, *, progress: Progress) -> Features:
    """Returns the features of photos, from the cache or computed in one pass and cached.

    An interrupted pass goes on where it was.

    Args:
        parts: The cut model, with its weights.
        wanted: What to run it on.
        progress: Shows a bar.

    Raises:
        NoRoomError: they would take more than the cache may, or its disk is full.
        DataError: a photo can't be read any more.
    """
    shape = (len(wanted), *parts.backbone.output.shape[1:])
    folder = cache_folder() / "features" / _key(parts, wanted)
    reused = True

    def waiting() -> None:
        progress.say("Frozen stages: another process computes the same; waiting for it")

    if (array := _read(folder, shape)) is None:
        _make_room(0)
        with _writing(_partial(folder)), exclusive(folder, waiting=waiting):
            if (array := _read(folder, shape)) is None:  # else that process is done
                _make_room(estimate_bytes(parts, len(wanted)) - bytes_in(_partial(folder)))
                _compute(folder, parts, wanted, shape, progress)
                array, reused = _read(folder, shape), False
    assert array is not None, folder  # it was just made
    plain, viewed = ({photo.sha256: i for i, photo in enumerate(p)} for p in (wanted.plain, wanted.viewed))
    return Features(array=array, plain=plain, viewed=viewed, reused=reused)


@contextlib.contextmanager
def _writing(partial: Path) -> Iterator[None]:
    """Turns what the disk of the cache refuses into `NoRoomError`, and gives back what was taken of it."""
    try:
        yield
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        shutil.rmtree(partial, ignore_errors=True)
        raise NoRoomError(f"the cache folder {cache_folder()} can't be written ({err.strerror})") from err


def _make_room(size: int) -> None:
    if reason := make_room(size):
        raise NoRoomError(reason)


def _partial(folder: Path) -> Path:
    """Returns where the pass that makes a folder of features writes."""
    return folder.with_name(f"{folder.name}.partial")


def _key(parts: Parts, wanted: Wanted) -> str:
    """Hashes everything that the features depend on."""
    digest, backend = hashlib.sha256(), keras.backend.backend()
    about = {
        "cache": CACHE_VERSION,
        "versions": [backend, *(version(name) for name in ("keras", backend, "pillow")), *fast.names()],
        "preprocess": wanted.spec.to_dict(),
        "augment": wanted.augmentation.to_dict() if wanted.augmentation is not None else None,
        "backbone": json.loads(parts.backbone.to_json())["config"]["layers"],
        "plain": [photo.sha256 for photo in wanted.plain],
        "viewed": [photo.sha256 for photo in wanted.viewed],
    }
    digest.update(json.dumps(about, sort_keys=True).encode())
    for weight in parts.backbone.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()


def _read(folder: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Maps a cached array; one that is not whole is as good as none, and makes room for a new one."""
    array: np.ndarray | None
    try:
        array = np.load(folder / "features.npy", mmap_mode="r")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        array = None
    if array is None or array.shape != shape:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)  # the least recently used features go first when room is made
    return array


def _compute(folder: Path, parts: Parts, wanted: Wanted, shape: tuple[int, ...], progress: Progress) -> None:
    """Makes the folder: rows are appended to a file in a folder beside, which is renamed when it is whole.

    Rows are written as they come, not through a map of the file: on a full disk a map kills the process.
    """
    partial = _partial(folder)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(partial / "about.json", {"base": parts.base, "boundary": parts.boundary, "images": len(wanted)})
    with (partial / "features.npy").open("ab") as file:
        done = _rows_in(file, shape)
        pixels = Pixels(wanted.root, wanted.plain + wanted.viewed, wanted.spec, keep=False)
        title = "Frozen stages, computed once" if not done else f"Frozen stages, from {done} of {len(wanted)} on"
        infer = inference(parts.backbone)
        with progress.bar(title, len(wanted) - done) as bar:
            for indices, batch in pixels.dataset(wanted.batches(done), wanted.augmentation):
                file.write(np.ascontiguousarray(infer(batch), np.float32).data)
                bar.advance(len(indices))
        file.flush()
        os.fsync(file.fileno())
    os.utime(partial)  # used now, not when the pass began
    os.replace(partial, folder)


def _rows_in(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Returns how many whole rows an unfinished file holds, and cuts off the rest; begins an empty one."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    start, size = header.tell(), os.fstat(file.fileno()).st_size
    if size < start:
        file.truncate(0)
        file.write(header.getvalue())
        return 0
    row = 4 * int(np.prod(shape[1:]))
    rows = min((size - start) // row, shape[0])
    file.truncate(start + rows * row)
    return rows


def computed(parts: Parts, root: Path, photos: Sequence[Photo], spec: PreprocessSpec, progress: Progress) -> np.ndarray:
    """Returns the features of some photos, `[photos, ...]`, without caching them."""
    pixels, infer = Pixels(root, photos, spec, keep=False), inference(parts.backbone)
    found = []
    with progress.bar("Frozen stages", len(photos)) as bar:
        for indices, batch in pixels.dataset(map(Batch, in_order(len(photos), BATCH))):
            found.append(infer(batch))
            bar.advance(len(indices))
    return np.concatenate(found)
