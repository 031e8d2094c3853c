"""What a model gives in inference mode, as NumPy."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tlkit.models.auxiliary import logits_of
from tlkit.transfer.padding import padded


def inference(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """Returns a function from `[N, ...]` pixels or features to the model's output as NumPy, traced once for any N.

    Of a model with auxiliary classifiers it gives the logits alone.
    """
    return {"tensorflow": _with_tensorflow, "jax": _with_jax}.get(keras.backend.backend(), _plain)(model)


def _with_tensorflow(model: keras.Model) -> Callable[[Any], np.ndarray]:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(model.input.shape, tf.float32)], autograph=False)
    def run(x: tf.Tensor) -> tf.Tensor:
        return logits_of(model(x, training=False))

    return lambda x: run(tf.cast(x, tf.float32)).numpy()


def _with_jax(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """Compiles for the largest batch; smaller ones are filled up, since JAX would compile again for each size."""
    import jax

    variables = model.variables
    largest = 0

    @jax.jit
    def run(values: list[jax.Array], x: Any) -> jax.Array:  # noqa: ANN401
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return logits_of(model(x, training=False))

    def infer(x: Any) -> np.ndarray:  # noqa: ANN401
        nonlocal largest
        largest = max(largest, len(x))
        batch = padded(np.asarray(x, np.float32), largest)
        return np.asarray(run([variable.value for variable in variables], batch))[: len(x)]

    return infer


def _plain(model: keras.Model) -> Callable[[Any], np.ndarray]:
    return lambda x: inference_once(model, np.asarray(x, np.float32))


def inference_once(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Returns the model's logits on a few photos, `[N, S, S, 3]` float32, without tracing it."""
    if keras.backend.backend() == "jax":  # which would compile each operation alone, and that takes longer
        return inference(model)(pixels)
    return keras.ops.convert_to_numpy(logits_of(model(pixels, training=False)))
