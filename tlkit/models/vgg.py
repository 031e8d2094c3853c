"""VGG.

Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv:1409.1556,
Table 1.
"""

import re
from collections.abc import Callable, Mapping

import keras
from keras import layers

from tlkit.errors import UnknownNameError
from tlkit.models import blocks
from tlkit.models.origins import CENTRED, STANDARDIZED, Normalization, Origin

# Table 1, its columns: the kernels of the convolutions in each stage; 2x2 max pooling follows each stage.
TABLE_1 = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}
CHANNELS = (64, 128, 256, 512, 512)


def depth_of(column: str) -> int:
    """Returns the number of weighted layers of a column of Table 1; three of them are fully connected."""
    return sum(map(len, TABLE_1[column])) + 3


def vgg(
    column: str,
    *,
    classes: int = 1000,
    input_size: int = 224,
    head: str = "original",
    dropout: float = 0.5,
    normalization: Normalization = CENTRED,
) -> keras.Model:
    """Builds a VGG with random weights.

    Args:
        column: Of `TABLE_1`. `A-LRN` normalizes after its first convolution, as AlexNet does.
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels. The last stage ends in a map 32 times smaller.
        head: `original` (4096, 4096, classes) or `gap`.
        dropout: After each hidden layer of the head (section 3.1).
        normalization: Scale and offset of the input; the paper subtracts the mean (section 2.1).

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        UnknownNameError: Table 1 has no such column.
    """
    if column not in TABLE_1:
        raise UnknownNameError(f"Table 1 of VGG has no column {column!r}. Columns: {', '.join(TABLE_1)}")
    name = f"vgg{depth_of(column)}"
    image, x = blocks.image_input(input_size, normalization)
    for stage, (kernels, filters) in enumerate(zip(TABLE_1[column], CHANNELS, strict=True), start=1):
        for i, kernel in enumerate(kernels, start=1):
            conv = layers.Conv2D(filters, kernel, padding="same", activation="relu", name=f"stage{stage}_conv{i}")
            x = conv(x)
        if column == "A-LRN" and stage == 1:
            x = blocks.local_response_norm(x, name="stage1_norm")
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
    if head == "gap":
        return keras.Model(image, blocks.gap_head(x, classes, dropout), name=name)
    return keras.Model(image, blocks.fully_connected_head(x, classes, dropout), name=name)


def keras_name(layer: str) -> str:
    """Returns a layer's name in the files of `keras.applications`."""
    if layer.startswith("head_"):
        return {"head_fc1": "fc1", "head_fc2": "fc2", "head_logits": "predictions"}.get(layer, layer)
    return re.sub(r"^stage(\d)_", r"block\1_", layer)


def torch_names(column: str) -> Callable[[str], str]:
    """Returns what names a layer of a column in torchvision's state dict: it counts all layers, unlike the table."""
    names = {"head_fc1": "classifier.0", "head_fc2": "classifier.3", "head_logits": "classifier.6"}
    index = 0
    for stage, kernels in enumerate(TABLE_1[column], start=1):
        for i in range(1, len(kernels) + 1):
            names[f"stage{stage}_conv{i}"] = f"features.{index}"
            index += 2  # itself and its ReLU
        index += 1  # pooling
    return lambda layer: names.get(layer, layer)


def variant_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Names the VGG that a file holds, from the shapes of its kernels."""
    own = re.compile(r"(block|stage)\d_conv\d|features\.\d+")
    held = sorted(shape[0] for name, shape in shapes.items() if own.fullmatch(name) and len(shape) == 4)
    found = [column for column, stages in TABLE_1.items() if sorted(sum(stages, ())) == held]
    return f"VGG-{depth_of(found[0])}{' (conv1)' if found[0] == 'C' else ''}" if found else None


ORIGINS = {
    "keras": Origin(name_of=keras_name, normalization=CENTRED, bgr=True),
    **{
        f"torch_{column}": Origin(name_of=torch_names(column), normalization=STANDARDIZED, torch=True)
        for column in ("A", "B", "D", "E")
    },
}
