"""The twin of a model: the same layers and weights in another precision, or on several devices.

The model itself stays float32 on one device, which is what is checked, evaluated and saved; the twin is trained.
"""

from typing import TYPE_CHECKING

import keras

from tlkit.transfer.devices import scope
from tlkit.transfer.precision import policy_of

if TYPE_CHECKING:
    import tensorflow as tf


def twin_of(model: keras.Model, policy: str, strategy: "tf.distribute.Strategy | None") -> keras.Model:
    """Returns what is trained in the place of a model: itself, for float32 on one device.

    Args:
        model: In float32.
        policy: Of Keras, for its layers; see `precision.policy_of`.
        strategy: Of the devices; trained batch norms take the statistics of all of them.
    """
    if policy == "float32" and strategy is None:
        return model

    def copied(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if "dtype" in config:
            config["dtype"] = policy_of(layer, policy)
        if strategy is not None and isinstance(layer, keras.layers.BatchNormalization):
            config["synchronized"] = True
        return type(layer).from_config(config)

    with scope(strategy):
        twin = keras.models.clone_model(model, clone_function=copied)
    twin.name = model.name
    copy_weights(model, twin)
    return twin


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Gives a model the weights of its twin, and the same layers to train."""
    if source is target:
        return
    for layer in source.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        other = target.get_layer(layer.name)
        other.trainable = layer.trainable
        other.set_weights(layer.get_weights())
