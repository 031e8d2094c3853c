"""A Keras model as a SavedModel whose signature every converter starts from."""

from pathlib import Path

import keras

INPUT, OUTPUT = "image", "probabilities"


def savedmodel_from_keras(model: keras.Model, folder: Path, *, dtype: str, batch: int | None = None) -> None:
    """Saves a model under the names `image` and `probabilities`.

    Args:
        model: From `[N, S, S, 3]` to `[N, classes]`.
        folder: Is made.
        dtype: Of the input: `uint8` puts the cast to float inside the graph.
        batch: A fixed batch size, or any.

    Keras' own `export` takes twice as long and prints a screenful of captured tensors.
    """
    import tensorflow as tf

    module = tf.Module()
    # Without these references TensorFlow does not save what the function captures.
    module.weights = [weight.value for weight in model.weights]
    signature = tf.TensorSpec((batch, *model.input.shape[1:]), tf.dtypes.as_dtype(dtype), name=INPUT)

    @tf.function(input_signature=[signature], autograph=False)
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: model(tf.cast(image, tf.float32), training=False)}

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
