"""GoogLeNet, also called Inception v1.

Source: Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, Table 1, figure 3 and section 5.
Departure: with `batch_norm`, the network that torchvision trained and publishes weights of: batch normalization after
every convolution instead of biases and local response normalization, 3x3 kernels in the branch of the 5x5 ones, the
last pooling 2x2, and an input in [-1, 1].
"""

import re

import keras
from keras import layers

from tlkit.errors import OptionError
from tlkit.models import blocks
from tlkit.models.origins import CENTRED, SYMMETRIC, Origin

# Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection of each module; max pooling between stages.
TABLE_1 = {
    "stage3_a": (64, 96, 128, 16, 32, 32),
    "stage3_b": (128, 128, 192, 32, 96, 64),
    "stage4_a": (192, 96, 208, 16, 48, 64),
    "stage4_b": (160, 112, 224, 24, 64, 64),
    "stage4_c": (128, 128, 256, 24, 64, 64),
    "stage4_d": (112, 144, 288, 32, 64, 64),
    "stage4_e": (256, 160, 320, 32, 128, 128),
    "stage5_a": (256, 160, 320, 32, 128, 128),
    "stage5_b": (384, 192, 384, 48, 128, 128),
}
AUXILIARIES = {"stage4_a": "aux1", "stage4_d": "aux2"}  # section 5
SMALLEST_WITH_AUXILIARIES = 79  # pixels: the map of stage 4 is 5 wide, as their pooling needs


def _conv(
    x: keras.KerasTensor, filters: int, kernel: int, name: str, *, batch_norm: bool, stride: int = 1
) -> keras.KerasTensor:
    """A convolution with ReLU; one with a stride has padded its input already."""
    padding = "same" if stride == 1 else "valid"
    if batch_norm:
        return blocks.conv_bn(x, filters, kernel, stride=stride, padding=padding, activation="relu", name=name)
    return layers.Conv2D(filters, kernel, strides=stride, padding=padding, activation="relu", name=name)(x)


def inception(x: keras.KerasTensor, widths: tuple[int, ...], name: str, *, batch_norm: bool) -> keras.KerasTensor:
    """Figure 3: 1x1, 1x1 and 3x3, 1x1 and 5x5, max pooling and 1x1, side by side."""
    direct, reduce3, wide3, reduce5, wide5, project = widths

    def conv(x: keras.KerasTensor, filters: int, kernel: int, part: str) -> keras.KerasTensor:
        return _conv(x, filters, kernel, f"{name}_{part}", batch_norm=batch_norm)

    pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    branches = (
        conv(x, direct, 1, "1x1"),
        conv(conv(x, reduce3, 1, "3x3_reduce"), wide3, 3, "3x3"),
        conv(conv(x, reduce5, 1, "5x5_reduce"), wide5, 3 if batch_norm else 5, "5x5"),
        conv(pooled, project, 1, "pool_project"),
    )
    return layers.Concatenate(name=f"{name}_concat")(branches)


def stem(x: keras.KerasTensor, *, batch_norm: bool) -> keras.KerasTensor:
    """Table 1 down to the first module: 8 times smaller, 192 channels."""
    x = layers.ZeroPadding2D(3, name="stem_pad")(x)
    x = blocks.max_pool_ceil(_conv(x, 64, 7, "stem_conv1", stride=2, batch_norm=batch_norm), 3, name="stem_pool1")
    x = x if batch_norm else blocks.local_response_norm(x, name="stem_lrn1")
    x = _conv(x, 64, 1, "stem_conv2_reduce", batch_norm=batch_norm)
    x = _conv(x, 192, 3, "stem_conv2", batch_norm=batch_norm)
    x = x if batch_norm else blocks.local_response_norm(x, name="stem_lrn2")
    return blocks.max_pool_ceil(x, 3, name="stem_pool2")


def auxiliary(x: keras.KerasTensor, classes: int, name: str, *, batch_norm: bool) -> keras.KerasTensor:
    """Section 5: average pooling 5x5/3, 1x1 convolution with 128 filters, FC 1024, dropout 70 %, FC."""
    x = layers.AveragePooling2D(5, strides=3, name=f"{name}_pool")(x)
    x = layers.Flatten(name=f"{name}_flatten")(_conv(x, 128, 1, f"{name}_conv", batch_norm=batch_norm))
    x = layers.Dense(1024, activation="relu", name=f"{name}_fc")(x)
    x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
    return layers.Dense(classes, name=f"{name}_logits")(x)


def googlenet(
    *,
    classes: int = 1000,
    input_size: int = 224,
    head: str = "original",
    batch_norm: bool = False,
    dropout: float = 0.4,
    auxiliaries: bool = False,
) -> keras.Model:
    """Builds GoogLeNet with random weights.

    Args:
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels. The last stage sees a map 32 times smaller.
        head: `original` and `gap` are the same here: the paper's head is global average pooling and one layer.
        batch_norm: Whether to build torchvision's variant.
        dropout: Before the last layer.
        auxiliaries: Whether the two auxiliary classifiers are there, as training needs them.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits; with
        `auxiliaries`, to a list of those and the two classifiers' logits of the same shape.

    Raises:
        OptionError: the input is too small for auxiliary classifiers.
    """
    if auxiliaries and input_size < SMALLEST_WITH_AUXILIARIES:
        raise OptionError(
            f"GoogLeNet's auxiliary classifiers pool windows of 5x5 and need an input of at least "
            f"{SMALLEST_WITH_AUXILIARIES} pixels, not {input_size}. Use a larger input, or auxiliaries=False."
        )
    image, x = blocks.image_input(input_size, SYMMETRIC if batch_norm else CENTRED)
    x = stem(x, batch_norm=batch_norm)
    early = []
    for name, widths in TABLE_1.items():
        x = inception(x, widths, name, batch_norm=batch_norm)
        if auxiliaries and name in AUXILIARIES:
            early.append(auxiliary(x, classes, AUXILIARIES[name], batch_norm=batch_norm))
        if name in ("stage3_b", "stage4_e"):
            window = 2 if batch_norm and name == "stage4_e" else 3
            x = blocks.max_pool_ceil(x, window, name=f"{name[:6]}_pool")
    logits = blocks.gap_head(x, classes, dropout)
    return keras.Model(image, [logits, *early] if auxiliaries else logits, name="googlenet")


_TORCH = {"stem_conv1": "conv1", "stem_conv2_reduce": "conv2", "stem_conv2": "conv3", "head_logits": "fc"}
_TORCH_BRANCHES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_project")
_TORCH_PARTS = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")


def torch_name(layer: str) -> str:
    """Returns a layer's name in the files of torchvision."""
    conv, part = (layer.removesuffix("_bn"), ".bn") if layer.endswith("_bn") else (layer, ".conv")
    if match := re.fullmatch(rf"stage(\d)_([a-e])_({'|'.join(_TORCH_BRANCHES)})", conv):
        stage, module, branch = match.groups()
        return f"inception{stage}{module}.{_TORCH_PARTS[_TORCH_BRANCHES.index(branch)]}{part}"
    return _TORCH.get(conv, conv) + (part if conv.startswith("stem_") else "")


ORIGINS = {"torch": Origin(name_of=torch_name, normalization=SYMMETRIC, torch=True)}
