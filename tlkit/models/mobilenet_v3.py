"""MobileNetV3.

Source: Howard et al., Searching for MobileNetV3, arXiv:1905.02244, Tables 1 and 2, sections 5.1 to 5.3.
Departure: the last convolution of the small network has no squeeze-excite, as in the authors' code, whose weights are
the published ones.
"""

import re
from collections.abc import Mapping

import keras
from keras import layers

from tlkit.errors import UnknownNameError
from tlkit.models import blocks
from tlkit.models.origins import SYMMETRIC, Origin

RE, HS = "relu", "hard_swish"  # x * relu6(x + 3) / 6 (section 5.2)


Row = tuple[int, int, int, bool, str, int]
# Tables 1 and 2: kernel, exp size, #out, SE, NL, stride of each bottleneck.
TABLE_1 = (
    (3, 16, 16, False, RE, 1),
    (3, 64, 24, False, RE, 2),
    (3, 72, 24, False, RE, 1),
    (5, 72, 40, True, RE, 2),
    *[(5, 120, 40, True, RE, 1)] * 2,
    (3, 240, 80, False, HS, 2),
    (3, 200, 80, False, HS, 1),
    *[(3, 184, 80, False, HS, 1)] * 2,
    (3, 480, 112, True, HS, 1),
    (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2),
    *[(5, 960, 160, True, HS, 1)] * 2,
)
TABLE_2 = (
    (3, 16, 16, True, RE, 2),
    (3, 72, 24, False, RE, 2),
    (3, 88, 24, False, RE, 1),
    (5, 96, 40, True, HS, 2),
    *[(5, 240, 40, True, HS, 1)] * 2,
    (5, 120, 48, True, HS, 1),
    (5, 144, 48, True, HS, 1),
    (5, 288, 96, True, HS, 2),
    *[(5, 576, 96, True, HS, 1)] * 2,
)
SIZES = {"large": (TABLE_1, 1280), "small": (TABLE_2, 1024)}  # and the width of the head's hidden layer
STEM, WIDTHS = 16, (0.75, 1.0)  # channels; the width multipliers that have published weights


def squeeze_excite(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Scales each channel by what all of the map say, through a quarter of the channels (section 5.3)."""
    channels = x.shape[-1]
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    y = layers.Conv2D(blocks.make_divisible(channels / 4), 1, activation="relu", name=f"{name}_conv1")(y)
    y = layers.Conv2D(channels, 1, activation="hard_sigmoid", name=f"{name}_conv2")(y)
    return layers.Multiply(name=f"{name}_scale")([x, y])


def bottleneck(x: keras.KerasTensor, row: Row, expanded: int, filters: int, name: str) -> keras.KerasTensor:
    """Expand 1x1, depthwise, squeeze-excite, project 1x1 without activation; added to its input where shapes agree."""
    inputs, (kernel, _, _, se, activation, stride) = x, row
    if expanded != x.shape[-1]:
        x = blocks.conv_bn(x, expanded, 1, activation=activation, name=f"{name}_expand")
    x = blocks.conv_bn(x, 0, kernel, stride=stride, depthwise=True, activation=activation, name=f"{name}_depthwise")
    x = squeeze_excite(x, f"{name}_se") if se else x
    x = blocks.conv_bn(x, filters, 1, activation=None, name=f"{name}_project")
    return layers.Add(name=f"{name}_add")([inputs, x]) if stride == 1 and inputs.shape == x.shape else x


def mobilenet_v3(
    size: str,
    *,
    classes: int = 1000,
    input_size: int = 224,
    head: str = "original",
    width_multiplier: float = 1.0,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds MobileNetV3 with random weights. Its blocks count through the network, as the rows of the tables.

    Args:
        size: A key of `SIZES`.
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels. The last stage sees a map 32 times smaller.
        head: `original` (1280 or 1024 behind the pooling, classes) or `gap`.
        width_multiplier: Scales the channels of every layer but the first; the hidden one of the head only upward.
        dropout: Before the last layer.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        UnknownNameError: there is no such size.
    """
    if size not in SIZES:
        raise UnknownNameError(f"There is no MobileNetV3 of size {size!r}. Sizes: {', '.join(SIZES)}")
    rows, hidden = SIZES[size]
    image, x = blocks.image_input(input_size, SYMMETRIC)
    x = blocks.conv_bn(x, STEM, 3, stride=2, activation=HS, name="stem_conv")
    before, stage = STEM, 1
    for block, row in enumerate(rows, start=1):
        _, exp_size, out, _, _, stride = row
        stage += stride == 2 and block > 1
        # The expansion is a factor of what comes in, which the width multiplier has rounded.
        expanded = blocks.make_divisible(x.shape[-1] * exp_size / before)
        filters, before = blocks.make_divisible(out * width_multiplier), out
        x = bottleneck(x, row, expanded, filters, f"stage{stage}_block{block}")
    x = blocks.conv_bn(x, blocks.make_divisible(6 * x.shape[-1]), 1, activation=HS, name=f"stage{stage}_conv")
    if head == "gap":
        return keras.Model(image, blocks.gap_head(x, classes, dropout), name=f"mobilenet_v3_{size}")
    hidden = blocks.make_divisible(hidden * max(1.0, width_multiplier))
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.Dense(hidden, activation=HS, name="head_fc")(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return keras.Model(image, layers.Dense(classes, name="head_logits")(x), name=f"mobilenet_v3_{size}")


_PUBLISHED = {"stem_conv": "conv", "head_fc": "conv_2", "head_logits": "logits"}
_PUBLISHED_PARTS = {"se_conv1": "squeeze_excite_conv", "se_conv2": "squeeze_excite_conv_1"}


def keras_name(layer: str) -> str:
    """Returns a layer's name in the files that `keras.applications` writes; its head has 1x1 convolutions."""
    layer, norm = layer.removesuffix("_bn"), "_bn" if layer.endswith("_bn") else ""
    if match := re.fullmatch(r"stage\d_block(\d+)_(\w+)", layer):
        number, part = int(match[1]) - 1, match[2]
        return f"expanded_conv_{f'{number}_' if number else ''}{_PUBLISHED_PARTS.get(part, part)}{norm}"
    return ("conv_1" if re.fullmatch(r"stage\d_conv", layer) else _PUBLISHED.get(layer, layer)) + norm


def keras2_name(layer: str) -> str:
    """Returns a layer's name in the published files, which Keras 2 wrote: `expanded_conv_1/expand/BatchNorm`."""
    name = re.sub("_bn$", "/BatchNorm", keras_name(layer)).replace("squeeze_excite_conv", "squeeze_excite/Conv")
    return re.sub(r"^(expanded_conv(_\d+)?)_", r"\1/", name) if name[0] == "e" else name[0].upper() + name[1:]


def variant_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Names the size and width that a file holds, from the shapes of its kernels."""
    last = next((shapes[name] for name in ("conv_1", "Conv_1", "stage5_conv", "stage4_conv") if name in shapes), (0, 0))
    sizes = (("Large", TABLE_1[-1][2]), ("Small", TABLE_2[-1][2]))
    found = {blocks.make_divisible(out * w): f"MobileNetV3-{size} of width {w}" for size, out in sizes for w in WIDTHS}
    return found.get(last[-2])


ORIGINS = {
    "keras": Origin(name_of=keras_name, normalization=SYMMETRIC),
    "keras2": Origin(name_of=keras2_name, normalization=SYMMETRIC),
}
