"""What a model gives in inference mode, as NumPy."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tlkit.models.auxiliary import logits_of


def inference(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """Returns a function from `[N, ...]` pixels or features to the model's output as NumPy, traced once for any N.

    Of a model with auxiliary classifiers it gives the logits alone.
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(model.input.shape, tf.float32)], autograph=False)
    def run(x: tf.Tensor) -> tf.Tensor:
        return logits_of(model(x, training=False))

    return lambda x: run(tf.cast(x, tf.float32)).numpy()


def inference_once(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Returns the model's logits on a few photos, `[N, S, S, 3]` float32, without tracing it."""
    return keras.ops.convert_to_numpy(logits_of(model(pixels, training=False)))
