"""Carries the tensors of keras.applications over by name, for tests that don't ask how files are read."""

import keras
import numpy as np

from ..conftest import settled
from .test_architectures import randomized


def lively(model, x):
    """Random weights and statistics, near those of the model's own activations: in a deep network others explode.

    For the same reason the branches of its bottlenecks add but little.
    """
    random = np.random.default_rng(3)
    randomized(model)
    for layer in model.layers:
        if layer.name.endswith("_3_bn"):
            layer.gamma.assign(layer.gamma * 0.3)
    settled(model, x=x)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            mean = mean + random.normal(0, 0.2, mean.shape) * np.sqrt(variance)
            layer.set_weights([gamma, beta, mean, variance * random.uniform(0.8, 1.25, mean.shape)])
    return model


def carry(theirs, ours, architecture):
    """Sets our weights to those of a model of keras.applications; every layer of theirs that has weights must be used.

    A bias before a batch norm, which ours do not have, goes into that norm's mean.
    """
    origin = architecture.module.ORIGINS["keras"]
    left = {layer.name for layer in theirs.layers if layer.weights}
    first = next(layer.name for layer in ours.layers if layer.weights)
    biases = {}
    for layer in ours.layers:
        if not layer.weights or (layer.name == "head_logits" and origin.name_of(layer.name) not in left):
            continue
        name = origin.name_of(layer.name)
        left.remove(name)
        values = theirs.get_layer(name).get_weights()
        if isinstance(layer, keras.layers.Conv2D) and not layer.use_bias and len(values) == 2:
            biases[f"{layer.name}_bn"] = values.pop()
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.epsilon == theirs.get_layer(name).epsilon
            values[2] = values[2] - biases.get(layer.name, 0.0)
        if layer.name == first and origin.bgr:
            values[0] = values[0][:, :, ::-1]
        layer.set_weights(values)
    assert not left
