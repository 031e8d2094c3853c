"""MobileNet, now called MobileNetV1.

Source: Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications,
arXiv:1704.04861, Table 1.
Departure: ReLU6 instead of ReLU, and stride 1 in the last block (the table prints 2, for a map that stays 7x7), both as
in the authors' code, whose weights are the published ones.
"""

import re
from collections.abc import Iterator, Mapping

import keras
from keras import layers

from tlkit.models import blocks
from tlkit.models.origins import SYMMETRIC, Origin

# Table 1, the depthwise separable blocks: stage, which counts resolutions; output channels; repeats. The first block of
# a stage has stride 2, but for stage 1.
TABLE_1 = (
    ("stage1", 64, 1),
    ("stage2", 128, 2),
    ("stage3", 256, 2),
    ("stage4", 512, 6),
    ("stage5", 1024, 2),
)
PUBLISHED_WIDTHS = (0.25, 0.5, 0.75, 1.0)


def scaled(channels: int, width_multiplier: float) -> int:
    """Section 3.3: the width multiplier times the channels, rounded down."""
    return max(1, int(channels * width_multiplier))


def separable_blocks(width_multiplier: float) -> Iterator[tuple[int, int, str]]:
    """Yields output channels, stride and name (`stage2_block1`) of each of the 13 blocks."""
    for stage, channels, repeats in TABLE_1:
        for i in range(1, repeats + 1):
            stride = 2 if i == 1 and stage != "stage1" else 1
            yield scaled(channels, width_multiplier), stride, f"{stage}_block{i}"


def depthwise_separable(x: keras.KerasTensor, filters: int, *, stride: int, name: str) -> keras.KerasTensor:
    """Depthwise 3x3, then 1x1 (figure 3, right). With stride 2, an odd map loses its last row and column's window."""
    padding = "same"
    if stride == 2 and x.shape[1] % 2:  # the authors' code pads at the bottom and right only, whatever the size
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
        padding = "valid"
    x = blocks.conv_bn(x, 0, 3, stride=stride, padding=padding, depthwise=True, name=f"{name}_depthwise")
    return blocks.conv_bn(x, filters, 1, name=f"{name}_pointwise")


def mobilenet_v1(
    *,
    classes: int = 1000,
    input_size: int = 224,
    head: str = "original",
    width_multiplier: float = 1.0,
    dropout: float = 0.001,
) -> keras.Model:
    """Builds MobileNetV1 with random weights.

    Args:
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels. The last stage sees a map 32 times smaller.
        head: `original` and `gap` are the same here: the paper's head is global average pooling and one layer.
        width_multiplier: Scales the channels of every layer (section 3.3).
        dropout: Before the last layer.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.
    """
    image, x = blocks.image_input(input_size, SYMMETRIC)
    x = blocks.conv_bn(x, scaled(32, width_multiplier), 3, stride=2, name="stem_conv")
    for filters, stride, name in separable_blocks(width_multiplier):
        x = depthwise_separable(x, filters, stride=stride, name=name)
    return keras.Model(image, blocks.gap_head(x, classes, dropout), name="mobilenet_v1")


_NUMBERS = {name: i for i, (*_, name) in enumerate(separable_blocks(1.0), start=1)}
# The final layer is a 1x1 convolution there: its kernel `[1, 1, C, classes]` is our Dense's `[C, classes]`.
_PUBLISHED = {"stem_conv": "conv1", "stem_conv_bn": "conv1_bn", "head_logits": "conv_preds"}


def keras_name(layer: str) -> str:
    """Returns a layer's name in the files of `keras.applications`."""
    match = re.fullmatch(r"(stage\d_block\d)_(depthwise|pointwise)(_bn)?", layer)
    if not match:
        return _PUBLISHED.get(layer, layer)
    block, part, norm = match.groups()
    return f"conv_{'dw' if part == 'depthwise' else 'pw'}_{_NUMBERS[block]}{norm or ''}"


def variant_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Names the width that a file holds, from the shapes of its kernels."""
    last = shapes.get("conv_pw_13") or shapes.get("stage5_block2_pointwise")
    widths = [w for w in PUBLISHED_WIDTHS if last and last[-1] == scaled(1024, w)]
    return f"MobileNetV1 of width {widths[0]}" if widths else None


ORIGINS = {"keras": Origin(name_of=keras_name, normalization=SYMMETRIC)}
