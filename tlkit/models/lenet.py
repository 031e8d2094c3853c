"""LeNet-5.

Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, doi:10.1109/5.726791, section II.B
and figure 2, as lectures draw it today: plain sigmoid, average pooling without weights, every S2 map connected to every
C3 map, and a linear last layer instead of radial basis functions.
Departure: the input is RGB like every model's here; the grey level (ITU-R BT.601 luma) is taken inside. The figure's
digits lie in 32x32 pixels and the first convolution has no padding; data sets of 28x28 are padded by 2 instead.
"""

import keras
from keras import layers

from tlkit.errors import OptionError
from tlkit.models import blocks
from tlkit.models.origins import UNIT

LUMA = (0.299, 0.587, 0.114)
# Figure 2: filters and kernel of each convolution; 2x2 pooling follows each.
CONVOLUTIONS = ((6, 5), (16, 5))
FULLY_CONNECTED = (120, 84)
POOLINGS = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}


def lenet5(
    *,
    classes: int = 10,
    input_size: int = 28,
    head: str = "original",
    filters: tuple[int, int] | None = None,
    grey: bool = True,
    padding: str = "same",
    activation: str = "sigmoid",
    pooling: str = "average",
    activate_after_pooling: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Builds LeNet-5 with random weights.

    Args:
        classes: Width of the final layer.
        input_size: Side of the square input, in pixels; the original head needs 28, or 32 without padding.
        head: `original` (120, 84, classes) or `gap`.
        filters: Of both convolutions, if not the paper's.
        grey: Whether the convolutions see the grey level, or else the colours.
        padding: Of the first convolution: `same`, or `valid` as figure 2 has it.
        activation: Of every layer but the last: `sigmoid`, `tanh`, `relu`.
        pooling: `average` or `max`.
        activate_after_pooling: Whether a convolution's activation comes behind its pooling, as some draw it. With
            `max` it makes no difference, since activations only rise.
        dropout: Before the last layer. The paper has none.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        OptionError: there is no such pooling.
    """
    if pooling not in POOLINGS:
        raise OptionError(f"LeNet-5 pools by {' or '.join(POOLINGS)}, not by {pooling!r}.")
    # The mean of three channels, each scaled by three times its share, is the luma in [0, 1].
    image, x = blocks.image_input(input_size, (tuple(3 * share / 255 for share in LUMA), 0.0) if grey else UNIT)
    x = blocks.mean_of_channels(x, "input_grey") if grey else x
    early, late = (None, activation) if activate_after_pooling else (activation, None)
    for i, (count, kernel) in enumerate(CONVOLUTIONS, start=1):
        count, border = filters[i - 1] if filters else count, padding if i == 1 else "valid"
        x = layers.Conv2D(count, kernel, padding=border, activation=early, name=f"stage{i}_conv")(x)
        x = POOLINGS[pooling](2, name=f"stage{i}_pool")(x)
        x = layers.Activation(late, name=f"stage{i}_{late}")(x) if late else x
    if head == "gap":
        return keras.Model(image, blocks.gap_head(x, classes, dropout), name="lenet5")
    x = layers.Flatten(name="head_flatten")(x)
    for i, units in enumerate(FULLY_CONNECTED, start=1):
        x = layers.Dense(units, activation=activation, name=f"head_fc{i}")(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return keras.Model(image, layers.Dense(classes, name="head_logits")(x), name="lenet5")
