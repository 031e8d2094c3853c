"""AlexNet.

Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012,
doi:10.1145/3065386, section 3; and its single tower as Krizhevsky redrew it, One weird trick for parallelizing
convolutional neural networks, arXiv:1404.5997, of which torchvision publishes weights.
Departure: the paper says 224 pixels; its 55x55 maps need 227. Its two GPUs are `groups=2` of one tower.
"""

from typing import NamedTuple

import keras
from keras import layers

from tlkit.errors import UnknownNameError
from tlkit.models import blocks
from tlkit.models.origins import CENTRED, STANDARDIZED, Normalization, Origin


class Variant(NamedTuple):
    """What differs between the two papers.

    Attributes:
        filters: Of each convolution, stage by stage; 3x3 max pooling with stride 2 follows each stage.
        padding: Around the input, in pixels.
        dropout_first: Whether dropout comes before the hidden layers of the head, and not after.
    """

    filters: tuple[tuple[int, ...], ...]
    padding: int
    dropout_first: bool


VARIANTS = {
    "2012": Variant(((96,), (256,), (384, 384, 256)), padding=0, dropout_first=False),
    "owt": Variant(((64,), (192,), (384, 256, 256)), padding=2, dropout_first=True),
}
# Section 3.5: kernel and stride of each stage's convolutions.
KERNELS = ((11, 4), (5, 1), (3, 1))
# The convolutions that see one half of the channels where there are two towers: the second, fourth and fifth.
DIVIDED = ("stage2_conv1", "stage3_conv2", "stage3_conv3")


def alexnet(
    *,
    classes: int = 1000,
    input_size: int = 227,
    head: str = "original",
    variant: str = "2012",
    groups: int = 1,
    local_response_norm: bool = False,
    dropout: float = 0.5,
    normalization: Normalization = CENTRED,
) -> keras.Model:
    """Builds AlexNet with random weights.

    Args:
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels; the original head needs 227, and 224 for `owt`.
        head: `original` (4096, 4096, classes) or `gap`.
        variant: A key of `VARIANTS`.
        groups: 2 divides three convolutions as the paper divides them between its GPUs (figure 2).
        local_response_norm: Whether stages 1 and 2 normalize before they pool (section 3.3). Lectures put a question
            mark to it, and later networks do without; so does this one, unless it is asked to.
        dropout: At each hidden layer of the head (section 4.2).
        normalization: Scale and offset of the input; the paper subtracts the mean (section 2).

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        UnknownNameError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise UnknownNameError(f"There is no AlexNet {variant!r}. Variants: {', '.join(VARIANTS)}")
    channels, padding, dropout_first = VARIANTS[variant]
    image, x = blocks.image_input(input_size, normalization)
    x = layers.ZeroPadding2D(padding, name="stage1_pad")(x) if padding else x
    for stage, (counts, (kernel, stride)) in enumerate(zip(channels, KERNELS, strict=True), start=1):
        for i, filters in enumerate(counts, start=1):
            name = f"stage{stage}_conv{i}"
            options = {"strides": stride, "padding": "valid" if stage == 1 else "same", "activation": "relu"}
            divided = groups if name in DIVIDED else 1
            x = layers.Conv2D(filters, kernel, groups=divided, **options, name=name)(x)
        if local_response_norm and stage < 3:
            x = blocks.local_response_norm(x, name=f"stage{stage}_norm")
        x = layers.MaxPooling2D(3, 2, name=f"stage{stage}_pool")(x)
    if head == "gap":
        return keras.Model(image, blocks.gap_head(x, classes, dropout), name="alexnet")
    x = blocks.fully_connected_head(x, classes, dropout, dropout_first=dropout_first)
    return keras.Model(image, x, name="alexnet")


# torchvision counts what each container holds: a ReLU follows each layer, then pooling or dropout may come.
_TORCH = {
    "stage1_conv1": "features.0",
    "stage2_conv1": "features.3",
    "stage3_conv1": "features.6",
    "stage3_conv2": "features.8",
    "stage3_conv3": "features.10",
    "head_fc1": "classifier.1",
    "head_fc2": "classifier.4",
    "head_logits": "classifier.6",
}


def torch_name(layer: str) -> str:
    """Returns a layer's prefix in torchvision's state dict."""
    return _TORCH.get(layer, layer)


ORIGINS = {"torch": Origin(name_of=torch_name, normalization=STANDARDIZED, torch=True)}
