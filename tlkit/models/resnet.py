"""ResNet-18 to ResNet-152, and the plain networks beside them.

Source: He et al., Deep Residual Learning for Image Recognition, arXiv:1512.03385, Table 1. Stages are numbered as it
numbers them: `stage2` is conv2_x.
Departure: "v1.5" strides on the 3x3 convolution of a bottleneck, as torchvision's weights need it, and not on the first
1x1. Keras' files have biases before the batch norms; here there are none, since the norm's mean takes them up.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

import keras
from keras import layers

from tlkit.errors import OptionError, UnknownNameError
from tlkit.models import blocks
from tlkit.models.origins import CENTRED, STANDARDIZED, Normalization, Origin

# Table 1, columns: block, then repeats in conv2_x, conv3_x, conv4_x, conv5_x.
TABLE_1 = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
# Figure 5: kernel of each convolution, and its filters over those of the stage (64, 128, 256, 512).
BLOCKS = {"basic": ((3, 1), (3, 1)), "bottleneck": ((1, 1), (3, 1), (1, 4))}


def residual_block(
    x: keras.KerasTensor,
    kind: str,
    width: int,
    *,
    conv: Callable[..., keras.KerasTensor],
    gamma: str,
    strides: dict[int, int],
    shortcut: str | None,
    name: str,
) -> keras.KerasTensor:
    """A block of `BLOCKS`: `relu(shortcut(x) + F(x))`, equation 1.

    `strides` has those of its convolutions that are not 1; `gamma` initializes the scale of its last batch norm.
    """
    inputs, last = x, len(BLOCKS[kind])
    for i, (kernel, expansion) in enumerate(BLOCKS[kind], start=1):
        end = {"activation": None, "gamma": gamma} if i == last else {}
        x = conv(x, width * expansion, kernel, stride=strides.get(i, 1), **end, name=f"{name}_conv{i}")
    if shortcut and inputs.shape != x.shape:
        bridge = blocks.zero_padded if shortcut == "A" else partial(conv, kernel=1, activation=None)
        inputs = bridge(inputs, x.shape[-1], stride=max(strides.values()), name=f"{name}_shortcut")
    x = layers.Add(name=f"{name}_add")([inputs, x]) if shortcut else x
    return layers.Activation("relu", name=f"{name}_relu")(x)


def resnet(
    depth: int,
    *,
    classes: int = 1000,
    input_size: int = 224,
    head: str = "original",
    shortcut: str | None = "B",
    stride_on_3x3: bool = False,
    zero_last_gamma: bool = False,
    dropout: float = 0.0,
    epsilon: float = 1e-5,
    normalization: Normalization = STANDARDIZED,
) -> keras.Model:
    """Builds a ResNet, or a plain network, with random weights.

    Args:
        depth: Number of weighted layers; a key of `TABLE_1`.
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels. The last stage sees a map 32 times smaller.
        head: `original` and `gap` are the same here: the paper's head is global average pooling and one layer.
        shortcut: Where shapes differ: `B` projects, `A` pads channels with zeros; None builds the plain network.
        stride_on_3x3: Whether bottlenecks stride on the 3x3 convolution (v1.5) and not on the first 1x1.
        zero_last_gamma: Whether each block starts as its shortcut alone (Goyal et al., arXiv:1706.02677, section 5.1).
        dropout: Before the last layer. The paper has none.
        epsilon, normalization: Of batch normalization; scale and offset of the input. As the weights need them.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        UnknownNameError: `depth` is not in Table 1.
        OptionError: there is no such shortcut.
    """
    if depth not in TABLE_1:
        raise UnknownNameError(f"There is no ResNet of depth {depth}. Depths: {', '.join(map(str, TABLE_1))}")
    if shortcut not in ("A", "B", None):
        raise OptionError(f"A ResNet's shortcut is 'A', 'B' or None, not {shortcut!r}.")
    kind, repeats = TABLE_1[depth]
    strided = 2 if stride_on_3x3 and kind == "bottleneck" else 1
    conv = partial(blocks.conv_bn, activation="relu", symmetric=True, epsilon=epsilon)
    gamma = "zeros" if zero_last_gamma else "ones"
    image, x = blocks.image_input(input_size, normalization)
    x = conv(x, 64, 7, stride=2, name="stem_conv")
    # Zeros are as good as minus infinity around what a ReLU gives.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for stage, count in enumerate(repeats, start=2):
        for i in range(1, count + 1):
            strides, name = {strided: 2 if i == 1 and stage > 2 else 1}, f"stage{stage}_block{i}"
            width = 2 ** (stage + 4)
            x = residual_block(x, kind, width, conv=conv, gamma=gamma, strides=strides, shortcut=shortcut, name=name)
    x = blocks.gap_head(x, classes, dropout)
    return keras.Model(image, x, name=f"{'resnet' if shortcut else 'plain'}{depth}")


# What lies outside the blocks: Keras' name and torchvision's.
_OUTSIDE = {
    "stem_conv": ("conv1_conv", "conv1"),
    "stem_conv_bn": ("conv1_bn", "bn1"),
    "head_logits": ("predictions", "fc"),
}
_INSIDE = re.compile(r"stage(\d)_block(\d+)_(shortcut|conv)(\d?)(_bn)?")


def keras_name(layer: str) -> str:
    """Returns a layer's name in the files of `keras.applications`."""
    if not (match := _INSIDE.fullmatch(layer)):
        return _OUTSIDE.get(layer, (layer, layer))[0]
    stage, block, _, number, norm = match.groups()
    return f"conv{stage}_block{block}_{number or 0}_{'bn' if norm else 'conv'}"


def torch_name(layer: str) -> str:
    """Returns a layer's prefix in torchvision's state dict."""
    if not (match := _INSIDE.fullmatch(layer)):
        return _OUTSIDE.get(layer, (layer, layer))[1]
    stage, block, _, number, norm = match.groups()
    part = f"{'bn' if norm else 'conv'}{number}" if number else f"downsample.{1 if norm else 0}"
    return f"layer{int(stage) - 1}.{int(block) - 1}.{part}"


def variant_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Names the ResNet that a file holds, from its kernels; those of shortcuts do not count."""
    own = re.compile(r"stem_conv|conv1(_conv)?|(stage|conv)\d_block\d+_(conv\d|[123]_conv)|layer\d\.\d+\.conv\d")
    depth = 1 + sum(1 for name, shape in shapes.items() if own.fullmatch(name) and len(shape) == 4)
    return f"ResNet-{depth}" if depth in TABLE_1 else None


ORIGINS = {
    "keras": Origin(name_of=keras_name, normalization=CENTRED, bgr=True),
    "torch": Origin(name_of=torch_name, normalization=STANDARDIZED, torch=True),
}
