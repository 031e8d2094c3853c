"""Photos to batches of pixels, in parallel and ahead of their use.

Every pixel comes from `fast.load`, within one grey level of `PreprocessSpec.load`, so training sees what the device
will see. Decoders and resizers release the interpreter's lock, so threads keep all cores busy; the figures are in
docs/preprocessing.md.
"""

import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from tlkit.data import fast
from tlkit.data.ahead import ahead
from tlkit.data.arrays import ArrayPhoto
from tlkit.data.augment import Augmentation
from tlkit.data.buffers import Buffers, tensor_of
from tlkit.data.discover import Photo
from tlkit.errors import DataError, ImageError
from tlkit.lazy import keras_backend
from tlkit.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Batch(NamedTuple):
    """Photos for one step.

    Attributes:
        indices: `[N]`, into a list of photos.
        view: Which view of them (see `Augmentation`), or None for the photos as they are.
    """

    indices: np.ndarray
    view: int | None = None


def in_order(count: int, batch_size: int) -> list[np.ndarray]:
    """Returns the indices 0 to `count` in batches, the last one perhaps smaller."""
    return [np.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]


# Decoded photos are kept in memory up to this size, so that no epoch decodes again what an earlier one did.
KEEP_BYTES = 2**30


LARGE = 4  # times smaller than they are, photos could be decoded


def are_large(root: Path, photos: Sequence[Photo], spec: PreprocessSpec) -> bool:
    """Whether most JPEG photos, by a few of them, would be decoded `LARGE` times smaller if the spec were `scaled`."""
    if spec.decode == "scaled":
        return False
    scaled, found = replace(spec, decode="scaled"), []
    for photo in photos[:: max(1, len(photos) // 8)]:
        try:
            with Image.open(root / photo.path, formats=("JPEG",)) as image:
                found.append(scaled.scale(*image.size) >= LARGE)
        except (OSError, ValueError, Image.DecompressionBombError):  # another format; or who decodes it will say
            found.append(False)
    return 2 * sum(found) > len(found)


class Pixels:
    """The pixels of a list of photos. As many as fit into memory are decoded once.

    Args:
        root: What the photos' paths are relative to.
        photos: What indices point into.
        spec: How a photo becomes pixels.
        keep: Whether decoded photos are kept at all; not worth it for a single pass.
    """

    def __init__(self, root: Path, photos: Sequence[Photo], spec: PreprocessSpec, *, keep: bool = True) -> None:
        self.photos = photos
        self.spec = spec
        self._root = root
        self.workers = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="tlkit-decode")
        shape = (spec.input_size, spec.input_size, 3)
        room = min(len(photos), KEEP_BYTES // math.prod(shape)) if keep else 0
        self._kept = np.empty((room, *shape), np.uint8)
        self._place = np.full(len(photos), -1)  # of each photo among the kept ones
        self._free = iter(range(room))
        self._lock = threading.Lock()
        self._buffers = Buffers()

    def load(self, indices: Sequence[int] | np.ndarray, dtype: "DTypeLike" = np.uint8) -> np.ndarray:
        """Decodes photos in parallel into `[N, S, S, 3]`, whole numbers from 0 to 255 of any type.

        Raises:
            DataError: a photo could be read when the folder was checked, and can't any more.
        """
        loaded = self._buffers.take((len(indices), *self._kept.shape[1:]), np.dtype(dtype))
        slots = iter(range(len(indices)))

        def work() -> None:
            for slot in slots:
                loaded[slot] = self._pixels(indices[slot])

        new = int(np.count_nonzero(self._place[np.asarray(indices)] < 0))
        if not new:
            work()
        # Each thread takes the next photo when it is done with one, so all are busy to the end of the batch.
        for future in [self._pool.submit(work) for _ in range(min(new, self.workers))]:
            future.result()
        return loaded

    def _pixels(self, index: int) -> np.ndarray:
        """Returns a photo that is kept, or decodes it and keeps it if there is room."""
        if (place := self._place[index]) >= 0:
            return self._kept[place]
        pixels = self._load_one(index)
        with self._lock:
            if self._place[index] < 0 and (free := next(self._free, None)) is not None:
                self._kept[free] = pixels
                self._place[index] = free  # last: other threads look at it without the lock
        return pixels

    def _load_one(self, index: int) -> np.ndarray:
        photo = self.photos[index]
        if isinstance(photo, ArrayPhoto):
            return photo.load(self.spec)
        path = os.path.join(self._root, photo.path)
        try:
            return fast.load(self.spec, path)
        except ImageError as err:
            raise DataError(f"{path} can't be used any more: {err}. Put it back, or start again without it.") from err

    def dataset(
        self, batches: Iterable[Batch], augmentation: Augmentation | None = None
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Decodes ahead of its use, in threads.

        Args:
            batches: Read some batches ahead.
            augmentation: Makes the views that the batches name; with Keras' TensorFlow backend alone.

        Yields:
            Pairs of `(indices [N], pixels [N, S, S, 3] float32 in [0, 255])`, the pixels as a tensor where the backend
            is TensorFlow, else as an array.

        Raises:
            DataError: as `load`.
        """
        size = self.spec.input_size
        tensors = keras_backend() == "tensorflow"
        views = None if augmentation is None else augmentation.compiled(size)

        def make(batch: Batch) -> tuple[np.ndarray, Any]:
            pixels: Any = self.load(batch.indices, np.float32)
            if tensors:
                pixels = tensor_of(pixels)
            if augmentation is None or views is None or batch.view is None:
                return batch.indices, pixels
            keys = augmentation.keys([self.photos[i].sha256 for i in batch.indices], batch.view)
            return batch.indices, views(pixels, keys)

        return ahead(make, batches)
