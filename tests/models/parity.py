"""Carries the tensors of keras.applications over by the names in `ORIGINS`, and compares logits."""

import re

import keras
import numpy as np

from ..conftest import coloured


def photos(size, count=2):
    return np.stack([np.asarray(coloured(i, i, (size, size))) for i in range(count)]).astype(np.float32)


def randomized(model, x, seed=0):
    """Random weights, batch-norm statistics included, that keep activations in range on `x`.

    Each batch norm first takes the statistics of its own input, as training would give it, then strays from them. No
    variance stays far below the others: dividing by it would magnify rounding from layer to layer.
    """
    random = np.random.default_rng(seed)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(x, training=True)
    for layer in model.layers:
        for weight in layer.weights:
            kind, value = weight.path.rpartition("/")[2], keras.ops.convert_to_numpy(weight)
            if kind == "moving_mean":
                spread = np.sqrt(keras.ops.convert_to_numpy(layer.moving_variance) + layer.epsilon)
                weight.assign(value + spread * random.normal(0, 0.1, value.shape))
            elif kind == "moving_variance":
                weight.assign(value * random.uniform(0.7, 1.4, value.shape) + 0.3 * value.mean())
            elif kind == "gamma":
                weight.assign(value * random.uniform(0.7, 1.4, value.shape))
            elif kind in ("beta", "bias"):
                weight.assign(value + random.normal(0, 0.1, value.shape))
    return model


def numbered(model):
    """The layers by name; of those with Keras' default names, the number is their rank, whatever was built before."""
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    for kind in ("conv2d", "batch_normalization"):
        own = [name for name in layers if re.fullmatch(rf"{kind}(_\d+)?", name)]
        own.sort(key=lambda name: int(name.removeprefix(kind).removeprefix("_") or 0))
        taken = [layers.pop(name) for name in own]
        layers.update({kind + (f"_{i}" if i else ""): layer for i, layer in enumerate(taken)})
    return layers


def carry(theirs, ours, architecture):
    """Sets our weights to those of a model of keras.applications; every layer of theirs that has weights must be used.

    A bias before a batch norm, which ours do not have, goes into that norm's mean. A 1x1 convolution may be a Dense
    here.
    """
    origin = architecture.module.ORIGINS["keras"]
    left, biases = numbered(theirs), {}
    weighted = [layer for layer in ours.layers if layer.weights]
    for layer in weighted:
        name = origin.name_of(layer.name)
        if layer.name.startswith("head_") and name not in left:
            continue
        source = left.pop(name)
        values = source.get_weights()
        if isinstance(layer, keras.layers.Conv2D) and not layer.use_bias and len(values) == 2:
            biases[f"{layer.name}_bn"] = values.pop()
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.epsilon == source.epsilon
            values[-2] = values[-2] - biases.pop(layer.name, 0.0)  # the mean
        if layer is weighted[0] and origin.bgr:
            values[0] = values[0][:, :, ::-1]
        layer.set_weights([v.reshape(w.shape) for v, w in zip(values, layer.weights, strict=True)])
    assert not left and not biases


def difference(logits, expected):
    """The largest, as a part of the largest logit where that is above 1; the logits must say something."""
    logits, expected = (np.asarray(keras.ops.convert_to_numpy(one)) for one in (logits, expected))
    assert logits.shape == expected.shape
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    return np.abs(logits - expected).max() / max(1.0, np.abs(expected).max())
