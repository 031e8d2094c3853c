"""Augmentation: seeded views of photos, each given by the photo, the view's number and the seed alone.

So a view can be computed once and cached, computed again in another order, or after an interruption, and is the same.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

VERSION = 2  # of the table and of how views are made from keys


@dataclass(frozen=True, kw_only=True)
class Level:
    """How far views go, each way, evenly distributed.

    Attributes:
        degrees: Of rotation.
        shift: Of each side.
        zoom: In and out, of both sides together.
        brightness: Of the range from 0 to 255, added.
        contrast: Of 1, which multiplies the distance from each channel's mean.
        mirror: Whether half of the views are mirrored, left to right.
    """

    degrees: float
    shift: float
    zoom: float
    brightness: float
    contrast: float = 0.0
    mirror: bool = False


# Light changes what a camera changes by itself, and mirrors nothing: letters, digits and many signs mean something else
# in a mirror.
LEVELS: dict[str, Level | None] = {
    "none": None,
    "light": Level(degrees=10, shift=0.05, zoom=0.1, brightness=0.1),
    "strong": Level(degrees=20, shift=0.1, zoom=0.2, brightness=0.2, contrast=0.3, mirror=True),
}
KEY = 8  # whole numbers that give a view, one for each thing that is drawn


class Augmentation:
    """Makes views of photos.

    Args:
        level: A key of `LEVELS` other than `none`.
        views: How many different views of each photo there are; None makes a new one in every epoch.
        seed: Gives other views.
    """

    def __init__(self, level: str, *, views: int | None, seed: int) -> None:
        self.level, self.views, self._seed = level, views, seed

    def view(self, epoch: int) -> int:
        """Returns the number of the view that an epoch sees."""
        return epoch if self.views is None else epoch % self.views

    def keys(self, hashes: Sequence[str], view: int) -> np.ndarray:
        """Returns what gives one view of photos, `[N, 8]` uint32, from the photos' sha256."""
        texts = (f"{self._seed}:{view}:{sha256}".encode() for sha256 in hashes)
        found = [np.frombuffer(hashlib.sha256(text).digest(), "<u4") for text in texts]
        return np.array(found, np.uint32).reshape(-1, KEY)

    def compiled(self, size: int) -> Callable[[Any, Any], Any]:
        """Returns `apply` for photos of one size, traced once."""
        import tensorflow as tf

        signature = [tf.TensorSpec((None, size, size, 3), tf.float32), tf.TensorSpec((None, KEY), tf.uint32)]
        return tf.function(self.apply, input_signature=signature, autograph=False)

    def apply(self, pixels: "tf.Tensor", keys: "tf.Tensor") -> "tf.Tensor":
        """Returns views of `[N, S, S, 3]` pixels as float32 in [0, 255]; `keys` are theirs, `[N, 8]` uint32.

        Whatever moves pixels is one affine map, so each is interpolated once; beyond the border a photo is reflected.
        """
        import tensorflow as tf

        level = LEVELS[self.level]
        assert level is not None, self.level
        drawn = tf.unstack(tf.cast(keys, tf.float32) / 2**31 - 1, num=KEY, axis=1)  # each [N], from -1 to 1
        angle = drawn[0] * (level.degrees * math.pi / 180)
        size = tf.cast(tf.shape(pixels)[1], tf.float32)
        zoom = 1 + level.zoom * drawn[3]
        side = tf.where(drawn[6] < 0, -1.0, 1.0) if level.mirror else tf.ones_like(zoom)
        along, across = zoom * tf.cos(angle), zoom * tf.sin(angle)
        center = (size - 1) / 2
        # Where a pixel of the view is taken from: x' = a x + b y + c, y' = d x + e y + f, about the center.
        a, b, d, e = along * side, -across, across * side, along
        c = center * (1 - a - b) + level.shift * size * drawn[1]
        f = center * (1 - d - e) + level.shift * size * drawn[2]
        zero = tf.zeros_like(a)
        x = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(pixels, tf.float32),
            transforms=tf.stack([a, b, c, d, e, f, zero, zero], axis=1),
            output_shape=tf.shape(pixels)[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="REFLECT",
        )
        x += (255 * level.brightness * drawn[4])[:, None, None, None]
        if level.contrast:
            mean = tf.reduce_mean(x, axis=(1, 2), keepdims=True)
            x = mean + (x - mean) * (1 + level.contrast * drawn[5])[:, None, None, None]
        return tf.ensure_shape(tf.clip_by_value(x, 0.0, 255.0), pixels.shape)

    def to_dict(self) -> dict[str, Any]:
        """Returns what views depend on."""
        return {"level": self.level, "views": self.views, "seed": self._seed, "version": VERSION}
