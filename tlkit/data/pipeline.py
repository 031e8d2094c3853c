"""Photos to batches of pixels: tf.data around the reference implementation, parallel and prefetched.

Every pixel comes from `PreprocessSpec.load`, so training sees exactly what the device will see. Pillow decodes and
resizes with the interpreter's lock released, about as fast as TensorFlow's own antialiased resize: see
docs/preprocessing.md for the figures.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlkit.data.arrays import ArrayPhoto
from tlkit.data.augment import Augmentation
from tlkit.data.discover import Photo
from tlkit.errors import DataError, ImageError
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


class Pixels:
    """The pixels of a list of photos. Photos that fit into memory together are decoded once.

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
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="tlkit-decode")
        self._failure: DataError | None = None
        shape = (len(photos), spec.input_size, spec.input_size, 3)
        self._kept = np.empty(shape, np.uint8) if keep and np.prod(shape) <= KEEP_BYTES else None
        self._have = np.zeros(len(photos), bool)

    def load(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Decodes photos in parallel into `[N, S, S, 3]` uint8.

        Raises:
            DataError: a photo could be read when the folder was checked, and can't any more.
        """
        indices = np.asarray(indices)
        if self._kept is None:
            return np.stack(list(self._pool.map(self._load_one, indices)))
        new = indices[~self._have[indices]]
        for index, pixels in zip(new, self._pool.map(self._load_one, new), strict=True):
            self._kept[index] = pixels
        self._have[new] = True
        return self._kept[indices]

    def _load_one(self, index: int) -> np.ndarray:
        photo = self.photos[index]
        if isinstance(photo, ArrayPhoto):
            return photo.load(self.spec)
        path = self._root / photo.path
        try:
            return self.spec.load(path)
        except ImageError as err:
            raise DataError(f"{path} can't be used any more: {err}. Put it back, or start again without it.") from err

    def dataset(self, batches: Iterable[Batch], augmentation: Augmentation | None = None) -> "tf.data.Dataset":
        """Returns a tf.data pipeline that decodes ahead of its use.

        Args:
            batches: Iterated once for each pass over the data set.
            augmentation: Makes the views that the batches name.

        Returns:
            A data set of `(indices [N] int64, pixels [N, S, S, 3] float32 in [0, 255])`. Iterate it inside `errors`.
        """
        import tensorflow as tf

        size = self.spec.input_size

        def load(indices: np.ndarray, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            try:
                pixels = self.load(indices)
            except DataError as err:
                self._failure = err
                raise
            if augmentation is None or view < 0:
                return pixels, np.zeros((len(indices), 2), np.uint32)
            return pixels, augmentation.keys([self.photos[i].sha256 for i in indices], int(view))

        @tf.autograph.experimental.do_not_convert
        def decode(indices: "tf.Tensor", view: "tf.Tensor") -> tuple["tf.Tensor", ...]:
            pixels, keys = tf.numpy_function(load, [indices, view], (tf.uint8, tf.uint32))
            pixels.set_shape((None, size, size, 3))
            keys.set_shape((None, 2))
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
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as err:
            if self._failure is None:
                raise
            raise self._failure from err
