"""Augmentation: seeded views of photos, each given by the photo, the view's number and the seed alone.

So a view can be computed once and cached, computed again in another order, or after an interruption, and is the same.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

VERSION = 1  # of the table and of how seeds are made
# Keras layers and their arguments. Light changes what a camera changes by itself, and mirrors nothing: letters, digits
# and many signs mean something else in a mirror.
LEVELS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "none": (),
    "light": (
        ("RandomRotation", {"factor": 10 / 360}),
        ("RandomTranslation", {"height_factor": 0.05, "width_factor": 0.05}),
        ("RandomZoom", {"height_factor": 0.1}),
        ("RandomBrightness", {"factor": 0.1}),
    ),
    "strong": (
        ("RandomFlip", {"mode": "horizontal"}),
        ("RandomRotation", {"factor": 20 / 360}),
        ("RandomTranslation", {"height_factor": 0.1, "width_factor": 0.1}),
        ("RandomZoom", {"height_factor": 0.2}),
        ("RandomBrightness", {"factor": 0.2}),
        ("RandomContrast", {"factor": 0.3}),
    ),
}


class Augmentation:
    """Makes views of photos.

    Args:
        level: A key of `LEVELS` other than `none`.
        views: How many different views of each photo there are; None makes a new one in every epoch.
        seed: Gives other views.
    """

    def __init__(self, level: str, *, views: int | None, seed: int) -> None:
        self.level, self.views, self._seed = level, views, seed
        self._layers: list[keras.Layer] | None = None

    def view(self, epoch: int) -> int:
        """Returns the number of the view that an epoch sees."""
        return epoch if self.views is None else epoch % self.views

    def keys(self, hashes: Sequence[str], view: int) -> np.ndarray:
        """Returns the seeds of one view of photos, `[N, 2]` uint32, from the photos' sha256."""
        texts = (f"{self._seed}:{view}:{sha256}".encode() for sha256 in hashes)
        return np.array([np.frombuffer(hashlib.sha256(text).digest()[:8], "<u4") for text in texts], np.uint32)

    def apply(self, pixels: "tf.Tensor", keys: "tf.Tensor") -> "tf.Tensor":
        """Returns views of `[N, S, S, 3]` pixels as float32 in [0, 255]; `keys` are theirs, `[N, 2]` uint32."""
        import tensorflow as tf

        if self._layers is None:
            self._layers = _layers(self.level)

        def one(image: "tf.Tensor", key: "tf.Tensor") -> "tf.Tensor":
            x = image[None]
            for number, layer in enumerate(self._layers or []):
                layer.generator.give(key, number)
                x = layer(x, training=True)
            return tf.clip_by_value(x[0], 0.0, 255.0)

        spec = tf.TensorSpec(pixels.shape[1:], tf.float32)
        given = tf.cast(pixels, tf.float32), keys
        # Photo by photo: the layers draw for a batch what would depend on which photos are in it.
        return tf.map_fn(lambda pair: one(*pair), given, fn_output_signature=spec)

    def to_dict(self) -> dict[str, Any]:
        """Returns what views depend on."""
        return {"level": self.level, "views": self.views, "seed": self._seed, "version": VERSION}


def _layers(level: str) -> "list[keras.Layer]":
    """Makes the layers of a level, each with a generator that hands out given seeds."""
    import keras
    import tensorflow as tf

    class Given(keras.random.SeedGenerator):
        """Hands out seeds made from a key; Keras' own counts its calls, so what it gives depends on the order."""

        def give(self, key: tf.Tensor, layer: int) -> None:
            self._key, self._drawn = key, 1000 * layer

        def next(self, ordered: bool = True) -> tf.Tensor:
            self._drawn += 1
            return tf.stack([self._key[0], self._key[1] + tf.constant(self._drawn, tf.uint32)])

    made = []
    for name, arguments in LEVELS[level]:
        layer = getattr(keras.layers, name)(**arguments)
        layer.generator = Given(seed=0)
        made.append(layer)
    return made
