"""VGG.

Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv:1409.1556,
Table 1.
"""

import re
from collections.abc import Mapping

import keras
from keras import layers

from tlkit.errors import UnknownNameError
from tlkit.models import blocks
from tlkit.models.origins import CENTRED, Normalization, Origin

# Table 1, column D: 3x3 convolutions in each stage; 2x2 max pooling follows each stage.
TABLE_1 = {16: (2, 2, 3, 3, 3)}
CHANNELS = (64, 128, 256, 512, 512)


def vgg(
    depth: int,
    *,
    classes: int = 1000,
    input_size: int = 224,
    head: str = "original",
    dropout: float = 0.5,
    normalization: Normalization = CENTRED,
) -> keras.Model:
    """Builds a VGG with random weights.

    Args:
        depth: Number of weighted layers; a key of `TABLE_1`.
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels. The last stage ends in a map 32 times smaller.
        head: `original` (4096, 4096, classes) or `gap`.
        dropout: After each hidden layer of the head (section 3.1).
        normalization: Scale and offset of the input; the paper subtracts the mean (section 2.1).

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        UnknownNameError: `depth` is not in Table 1.
    """
    if depth not in TABLE_1:
        raise UnknownNameError(f"There is no VGG of depth {depth}. Depths: {', '.join(map(str, TABLE_1))}")
    image, x = blocks.image_input(input_size, normalization)
    for stage, (count, filters) in enumerate(zip(TABLE_1[depth], CHANNELS, strict=True), start=1):
        for i in range(1, count + 1):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"stage{stage}_conv{i}")(x)
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
    if head == "gap":
        return keras.Model(image, blocks.gap_head(x, classes, dropout), name=f"vgg{depth}")
    x = layers.Flatten(name="head_flatten")(x)
    for i in (1, 2):
        x = layers.Dense(4096, activation="relu", name=f"head_fc{i}")(x)
        x = layers.Dropout(dropout, name=f"head_dropout{i}")(x)
    return keras.Model(image, layers.Dense(classes, name="head_logits")(x), name=f"vgg{depth}")


def keras_name(layer: str) -> str:
    """Returns a layer's name in the files of `keras.applications`."""
    if layer.startswith("head_"):
        return {"head_fc1": "fc1", "head_fc2": "fc2", "head_logits": "predictions"}.get(layer, layer)
    return re.sub(r"^stage(\d)_", r"block\1_", layer)


def variant_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Names the VGG that a file holds, from the shapes of its kernels."""
    convolutions = [name for name in shapes if re.fullmatch(r"(block|stage)\d_conv\d", name)]
    return f"VGG-{len(convolutions) + 3}" if convolutions else None


ORIGINS = {"keras": Origin(name_of=keras_name, normalization=CENTRED, bgr=True)}
