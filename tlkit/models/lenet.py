"""LeNet-5.

Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, doi:10.1109/5.726791, section II.B
and figure 2, as lectures draw it today: plain sigmoid, average pooling without weights, every S2 map connected to every
C3 map, and a linear last layer instead of radial basis functions.
Departure: the input is RGB like every model's here; the grey level (ITU-R BT.601 luma) is taken inside.
"""

import keras
from keras import layers

from tlkit.models import blocks

LUMA = (0.299, 0.587, 0.114)
# Figure 2: filters, kernel, padding of each convolution; 2x2 pooling follows each.
CONVOLUTIONS = ((6, 5, "same"), (16, 5, "valid"))
FULLY_CONNECTED = (120, 84)


def lenet5(
    *,
    classes: int = 10,
    input_size: int = 28,
    head: str = "original",
    activation: str = "sigmoid",
    dropout: float = 0.0,
) -> keras.Model:
    """Builds LeNet-5 with random weights.

    Args:
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels; the original head needs 28.
        head: `original` (120, 84, classes) or `gap`.
        activation: Of every layer but the last.
        dropout: Before the last layer. The paper has none.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.
    """
    # The mean of three channels, each scaled by three times its share, is the luma in [0, 1].
    image, x = blocks.image_input(input_size, (tuple(3 * share / 255 for share in LUMA), 0.0))
    x = blocks.mean_of_channels(x, "input_grey")
    for i, (filters, kernel, padding) in enumerate(CONVOLUTIONS, start=1):
        x = layers.Conv2D(filters, kernel, padding=padding, activation=activation, name=f"stage{i}_conv")(x)
        x = layers.AveragePooling2D(2, name=f"stage{i}_pool")(x)
    if head == "gap":
        return keras.Model(image, blocks.gap_head(x, classes, dropout), name="lenet5")
    x = layers.Flatten(name="head_flatten")(x)
    for i, units in enumerate(FULLY_CONNECTED, start=1):
        x = layers.Dense(units, activation=activation, name=f"head_fc{i}")(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return keras.Model(image, layers.Dense(classes, name="head_logits")(x), name="lenet5")
