"""Photos to batches of pixels: the reference implementation, parallel and ahead of its use.

Every pixel comes from `PreprocessSpec.load`, so training sees exactly what the device will see. Pillow decodes and
resizes with the interpreter's lock released, about as fast as TensorFlow's own antialiased resize: see
docs/preprocessing.md for the figures.
"""

import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from tlkit.data import fast
from tlkit.data.ahead import ahead
from tlkit.data.arrays import ArrayPhoto
from tlkit.data.augment import KEY, Augmentation
from tlkit.data.discover import Photo
from tlkit.errors import DataError, ImageError
from tlkit.lazy import keras_backend
from tlkit.preprocess import PreprocessSpec

if TYPE_CHECKING:
    import tensorflow as tf


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
        self._failure: DataError | None = None
        shape = (spec.input_size, spec.input_size, 3)
        room = min(len(photos), KEEP_BYTES // math.prod(shape)) if keep else 0
        self._kept = np.empty((room, *shape), np.uint8)
        self._place = np.full(len(photos), -1)  # of each photo among the kept ones
        self._free = iter(range(room))
        self._lock = threading.Lock()

    def load(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Decodes photos in parallel into `[N, S, S, 3]` uint8.

        Raises:
            DataError: a photo could be read when the folder was checked, and can't any more.
        """
        indices = np.asarray(indices)
        loaded = np.empty((len(indices), *self._kept.shape[1:]), np.uint8)
        with self._lock:
            places = self._place[indices]
        known = places >= 0
        loaded[known] = self._kept[places[known]]
        new = np.flatnonzero(~known)
        following = iter(new)

        def work() -> None:
            for slot in following:
                loaded[slot] = self._load_one(indices[slot])

        # Each thread takes the next photo when it is done with one, so all are busy to the end of the batch.
        for future in [self._pool.submit(work) for _ in range(min(len(new), self.workers))]:
            future.result()
        self._keep(indices[new], loaded[new] if len(new) < len(indices) else loaded)
        return loaded

    def _keep(self, indices: np.ndarray, pixels: np.ndarray) -> None:
        """Keeps as many as there is room for."""
        with self._lock:
            for index, values in zip(indices, pixels, strict=True):
                if self._place[index] < 0 and (place := next(self._free, None)) is not None:
                    self._kept[place] = values
                    self._place[index] = place

    def _load_one(self, index: int) -> np.ndarray:
        photo = self.photos[index]
        if isinstance(photo, ArrayPhoto):
            return photo.load(self.spec)
        path = self._root / photo.path
        try:
            return fast.load(self.spec, path)
        except ImageError as err:
            raise DataError(f"{path} can't be used any more: {err}. Put it back, or start again without it.") from err

    def dataset(self, batches: Iterable[Batch], augmentation: Augmentation | None = None) -> Iterable[tuple[Any, Any]]:
        """Decodes ahead of its use: a tf.data pipeline, or with another backend of Keras a thread.

        Args:
            batches: Iterated once, by the first pass.
            augmentation: Makes the views that the batches name; with TensorFlow alone.

        Returns:
            Pairs of `(indices [N] int64, pixels [N, S, S, 3] float32 in [0, 255])`. Iterate it inside `errors`.
        """
        if keras_backend() != "tensorflow":
            return ahead(lambda batch: (batch.indices, self.load(batch.indices).astype(np.float32)), batches)
        import tensorflow as tf

        size = self.spec.input_size

        def load(indices: np.ndarray, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            try:
                pixels = self.load(indices)
            except DataError as err:
                self._failure = err
                raise
            if augmentation is None or view < 0:
                return pixels, np.zeros((len(indices), KEY), np.uint32)
            return pixels, augmentation.keys([self.photos[i].sha256 for i in indices], int(view))

        @tf.autograph.experimental.do_not_convert
        def decode(indices: "tf.Tensor", view: "tf.Tensor") -> tuple["tf.Tensor", ...]:
            pixels, keys = tf.numpy_function(load, [indices, view], (tf.uint8, tf.uint32))
            pixels.set_shape((None, size, size, 3))
            keys.set_shape((None, KEY))
            plain = tf.cast(pixels, tf.float32)
            if augmentation is None:
                return indices, plain
            return indices, tf.cond(view < 0, lambda: plain, lambda: augmentation.apply(plain, keys))

        signature = (tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.int64))

        def numbered() -> Iterator[tuple[np.ndarray, int]]:
            return ((batch.indices, -1 if batch.view is None else batch.view) for batch in batches)

        source = tf.data.Dataset.from_generator(numbered, output_signature=signature)
        return source.map(decode, num_parallel_calls=2, deterministic=True).prefetch(2)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns TensorFlow's report of a failed decode back into the `DataError` that names the photo."""
        if keras_backend() != "tensorflow":  # then it is raised as it is
            yield
            return
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as err:
            if self._failure is None:
                raise
            raise self._failure from err
