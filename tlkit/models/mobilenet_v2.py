"""MobileNetV2.

Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv:1801.04381, Table 2.
"""

import re
from collections.abc import Iterator, Mapping

import keras
from keras import layers

from tlkit.models import blocks
from tlkit.models.origins import SYMMETRIC, Origin

# Table 2, the bottlenecks: expansion t, output channels c, repeats n, stride s of the first; and the stage, which
# counts resolutions.
TABLE_2 = (
    (1, 16, 1, 1, "stage1"),
    (6, 24, 2, 2, "stage2"),
    (6, 32, 3, 2, "stage3"),
    (6, 64, 4, 2, "stage4"),
    (6, 96, 3, 1, "stage4"),
    (6, 160, 3, 2, "stage5"),
    (6, 320, 1, 1, "stage5"),
)
PUBLISHED_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


def bottlenecks(width_multiplier: float) -> Iterator[tuple[int, int, int, str]]:
    """Yields expansion, output channels, stride and name (`stage2_block1`) of each of the 17 bottlenecks."""
    count: dict[str, int] = {}
    for expansion, channels, repeats, stride, stage in TABLE_2:
        for i in range(repeats):
            count[stage] = count.get(stage, 0) + 1
            filters = blocks.make_divisible(channels * width_multiplier)
            yield expansion, filters, stride if i == 0 else 1, f"{stage}_block{count[stage]}"


def inverted_residual(
    x: keras.KerasTensor, expansion: int, filters: int, *, stride: int, name: str
) -> keras.KerasTensor:
    """Expand 1x1, depthwise 3x3, project 1x1 without activation; added to its input where the shapes agree."""
    inputs, channels = x, x.shape[-1]
    if expansion > 1:
        x = blocks.conv_bn(x, channels * expansion, 1, name=f"{name}_expand")
    x = blocks.conv_bn(x, 0, 3, stride=stride, depthwise=True, name=f"{name}_depthwise")
    x = blocks.conv_bn(x, filters, 1, activation=None, name=f"{name}_project")
    return layers.Add(name=f"{name}_add")([inputs, x]) if stride == 1 and channels == filters else x


def mobilenet_v2(
    *,
    classes: int = 1000,
    input_size: int = 224,
    head: str = "original",
    width_multiplier: float = 1.0,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds MobileNetV2 with random weights.

    Args:
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels. The last stage sees a map 32 times smaller.
        head: `original` and `gap` are the same here: the paper's head is global average pooling and one layer.
        width_multiplier: Scales the channels of every layer; the last convolution never goes below 1280 (section 4).
        dropout: Before the last layer.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.
    """
    image, x = blocks.image_input(input_size, SYMMETRIC)
    x = blocks.conv_bn(x, blocks.make_divisible(32 * width_multiplier), 3, stride=2, name="stem_conv")
    for expansion, filters, stride, name in bottlenecks(width_multiplier):
        x = inverted_residual(x, expansion, filters, stride=stride, name=name)
    last = blocks.make_divisible(1280 * max(1.0, width_multiplier))
    x = blocks.conv_bn(x, last, 1, name="stage5_conv")
    return keras.Model(image, blocks.gap_head(x, classes, dropout), name="mobilenet_v2")


_PUBLISHED = {
    "stem_conv": "Conv1",
    "stem_conv_bn": "bn_Conv1",
    "stage5_conv": "Conv_1",
    "stage5_conv_bn": "Conv_1_bn",
    "head_logits": "predictions",
}
_PUBLISHED_BLOCKS = {name: "expanded_conv" if i == 0 else f"block_{i}" for i, (*_, name) in enumerate(bottlenecks(1.0))}


def keras_name(layer: str) -> str:
    """Returns a layer's name in the files of `keras.applications`."""
    match = re.fullmatch(r"(stage\d_block\d)_(expand|depthwise|project)(_bn)?", layer)
    if not match:
        return _PUBLISHED.get(layer, layer)
    block, part, norm = match.groups()
    return f"{_PUBLISHED_BLOCKS[block]}_{part}{'_BN' if norm else ''}"


def variant_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Names the width that a file holds, from the shapes of its kernels."""
    wide = shapes.get("block_16_project") or shapes.get("stage5_block4_project")
    widths = [w for w in PUBLISHED_WIDTHS if wide and wide[-1] == blocks.make_divisible(320 * w)]
    return f"MobileNetV2 of width {widths[0]}" if widths else None


ORIGINS = {"keras": Origin(name_of=keras_name, normalization=SYMMETRIC)}
