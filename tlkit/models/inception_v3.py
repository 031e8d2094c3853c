"""Inception-v3.

Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, arXiv:1512.00567, Table 1 and figures
5 to 7 and 10.
Departure, as in the authors' code, whose weights are the published ones: the stem ends in 1x1, 3x3 and max pooling
instead of three 3x3; one branch of figure 5 keeps a 5x5; a reduction takes the place of the first module of the second
and third group; batch normalization has no gamma.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import keras
from keras import layers

from tlkit.models import blocks
from tlkit.models.origins import SYMMETRIC, Origin


class Conv(NamedTuple):
    """A convolution; `kernel` is a side, or height and width."""

    filters: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: str = "same"


Chain = tuple[Conv | str, ...]  # layers, one behind the other
AVERAGE, MAX = "average 3x3/1", "max 3x3/2"
SPLIT = "1x3 beside 3x1"  # figure 7
SPLIT_CONVS = (Conv(384, (1, 3)), Conv(384, (3, 1)))

# Table 1 down to the first module.
STEM: Chain = (Conv(32, 3, 2, "valid"), Conv(32, 3, 1, "valid"), Conv(64, 3), MAX)
STEM += (Conv(80), Conv(192, 3, 1, "valid"), MAX)


def figure_5(pool: int) -> tuple[Chain, ...]:
    """The branches of a module at 35x35; `pool` is the width behind the pooling."""
    return (
        (Conv(64),),
        (Conv(48), Conv(64, 5)),
        (Conv(64), Conv(96, 3), Conv(96, 3)),
        (AVERAGE, Conv(pool)),
    )


def figure_6(n: int) -> tuple[Chain, ...]:
    """The branches of a module at 17x17, its 7x7 factorized; `n` is the width inside."""
    return (
        (Conv(192),),
        (Conv(n), Conv(n, (1, 7)), Conv(192, (7, 1))),
        (Conv(n), Conv(n, (7, 1)), Conv(n, (1, 7)), Conv(n, (7, 1)), Conv(192, (1, 7))),
        (AVERAGE, Conv(192)),
    )


FIGURE_7 = ((Conv(320),), (Conv(384), SPLIT), (Conv(448), Conv(384, 3), SPLIT), (AVERAGE, Conv(192)))
# Figure 10, down to 17x17 and to 8x8.
REDUCE_35 = ((Conv(384, 3, 2, "valid"),), (Conv(64), Conv(96, 3), Conv(96, 3, 2, "valid")), (MAX,))
REDUCE_17 = (
    (Conv(192), Conv(320, 3, 2, "valid")),
    (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, "valid")),
    (MAX,),
)
# Table 1, the modules.
TABLE_1: dict[str, tuple[tuple[Chain, ...], ...]] = {
    "stage1": (figure_5(32), figure_5(64), figure_5(64)),
    "stage2": (REDUCE_35, figure_6(128), figure_6(160), figure_6(160), figure_6(192)),
    "stage3": (REDUCE_17, FIGURE_7, FIGURE_7),
}


def modules() -> Iterator[tuple[str, list[tuple[str, Chain]]]]:
    """Yields each module's name, and the names and layers of its branches."""
    for stage, rows in TABLE_1.items():
        for i, branches in enumerate(rows, start=1):
            name = f"{stage}_block{i}"
            yield name, [(f"{name}_branch{j}", steps) for j, steps in enumerate(branches, start=1)]


def chain(x: keras.KerasTensor, steps: Chain, name: str) -> keras.KerasTensor:
    """Layers one behind the other: `{name}_conv1`, `{name}_conv2` ..."""
    convs = 0

    def conv(x: keras.KerasTensor, step: Conv) -> keras.KerasTensor:
        nonlocal convs
        convs += 1
        return blocks.conv_bn(x, **step._asdict(), activation="relu", scale=False, name=f"{name}_conv{convs}")

    for step in steps:
        if isinstance(step, Conv):
            x = conv(x, step)
        elif step == SPLIT:
            x = layers.Concatenate(name=f"{name}_concat")([conv(x, one) for one in SPLIT_CONVS])
        elif step == AVERAGE:
            x = layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
        else:
            x = layers.MaxPooling2D(3, strides=2, name=f"{name}_pool{convs}")(x)
    return x


def inception_v3(
    *, classes: int = 1000, input_size: int = 299, head: str = "original", dropout: float = 0.2
) -> keras.Model:
    """Builds Inception-v3 with random weights.

    Args:
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels.
        head: `original` and `gap` are the same here: the paper's head is global average pooling and one layer.
        dropout: Before the last layer.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.
    """
    image, x = blocks.image_input(input_size, SYMMETRIC)
    x = chain(x, STEM, "stem")
    for name, branches in modules():
        x = layers.Concatenate(name=f"{name}_concat")([chain(x, steps, branch) for branch, steps in branches])
    return keras.Model(image, blocks.gap_head(x, classes, dropout), name="inception_v3")


def _convolutions() -> Iterator[str]:
    """Yields the convolutions' names in the order in which they are made, here as in `keras.applications`."""
    for name, steps in (("stem", STEM), *(pair for *_, branches in modules() for pair in branches)):
        count = sum(len(SPLIT_CONVS) if step == SPLIT else isinstance(step, Conv) for step in steps)
        yield from (f"{name}_conv{i}" for i in range(1, count + 1))


_NUMBERS = {name: i for i, name in enumerate(_convolutions())}


def keras_name(layer: str, *, first: int = 0) -> str:
    """Returns a layer's name in the files of `keras.applications`, which number Keras' default names."""
    conv = layer.removesuffix("_bn")
    if conv not in _NUMBERS:
        return {"head_logits": "predictions"}.get(layer, layer)
    number = _NUMBERS[conv] + first
    return ("conv2d" if conv == layer else "batch_normalization") + (f"_{number}" if number else "")


# Keras 2, which wrote the published files, counts from 1; Keras 3 writes `conv2d`, `conv2d_1` ...
ORIGINS = {
    "keras": Origin(name_of=keras_name, normalization=SYMMETRIC),
    "keras2": Origin(name_of=partial(keras_name, first=1), normalization=SYMMETRIC),
}
