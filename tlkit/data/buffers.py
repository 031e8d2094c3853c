"""Memory of batches, used again and handed to TensorFlow without a copy.

A batch of 32 photos of 224 pixels is 19 MB as float32. Memory of that size comes from the system filled with zeros and
goes back when it is freed, which costs as much as a tenth of decoding the photos.
"""

import math
import sys
import threading
from typing import Any

import numpy as np

_ALIGNMENT = 64  # bytes; TensorFlow takes no array that begins elsewhere
_KEPT = 8  # arrays
_LARGEST = 64 * 2**20  # bytes of one that is kept


class Buffers:
    """Gives arrays whose memory is taken from those that nothing refers to any more."""

    def __init__(self) -> None:
        # The first is never given away: it tells how many references to a free one are counted in `take`.
        self._all = [np.empty(0, np.uint8)]
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Returns an array with arbitrary values; views of it and tensors that share it keep it from being reused."""
        size = math.prod(shape) * dtype.itemsize
        with self._lock:
            references = [sys.getrefcount(buffer) for buffer in self._all]
            for buffer, count in zip(self._all[1:], references[1:], strict=True):
                if count == references[0] and size <= len(buffer) - _ALIGNMENT <= 2 * size:
                    return _aligned(buffer, size).view(dtype).reshape(shape)
            buffer = np.empty(size + _ALIGNMENT, np.uint8)
            if size <= _LARGEST:
                if len(self._all) > _KEPT:
                    del self._all[1]  # the oldest, which nothing took
                self._all.append(buffer)
            return _aligned(buffer, size).view(dtype).reshape(shape)


def _aligned(buffer: np.ndarray, size: int) -> np.ndarray:
    begin = -buffer.ctypes.data % _ALIGNMENT
    return buffer[begin : begin + size]


def tensor_of(array: np.ndarray) -> Any:  # noqa: ANN401
    """Returns a TensorFlow tensor of the same memory as an array of `Buffers`; the array must not change any more."""
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
