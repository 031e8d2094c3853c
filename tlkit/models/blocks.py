"""What the papers' tables are made of. Every function takes and returns Keras tensors and names its layers."""

import keras
from keras import layers

from tlkit.models.lrn import LocalResponseNormalization
from tlkit.models.origins import Normalization


def image_input(input_size: int, normalization: Normalization) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input and the one normalization of contract 2: `x * scale + offset`, each a number or one per channel.

    Returns:
        The input, `[N, input_size, input_size, 3]` RGB in [0, 255], and the normalized tensor of that shape.
    """
    image = keras.Input((input_size, input_size, 3), name="input_image")
    # As lists: a saved model that is loaded again holds what it was saved with.
    scale, offset = (list(part) if isinstance(part, tuple) else part for part in normalization)
    return image, layers.Rescaling(scale, offset, name="input_rescaling")(image)


def mean_of_channels(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """`[N, H, W, C]` to `[N, H, W, 1]`. Made of layers every converter knows, without parameters."""
    _, height, width, channels = x.shape
    x = layers.Reshape((height * width, channels, 1), name=f"{name}_pixels")(x)
    x = layers.AveragePooling2D((1, channels), name=f"{name}_mean")(x)
    return layers.Reshape((height, width, 1), name=name)(x)


def max_pool_ceil(x: keras.KerasTensor, window: int, *, name: str) -> keras.KerasTensor:
    """Max pooling of stride 2 that drops no row: a window over the edge at the bottom or right takes what there is.

    `[N, H, W, C]` to `[N, ceil((H - window) / 2) + 1, ..., C]` for a square map. With stride 2, "same" pads exactly the
    one row and column that are missing, and "valid" is right where none are.
    """
    padding = "same" if (x.shape[1] - window) % 2 else "valid"
    return layers.MaxPooling2D(window, strides=2, padding=padding, name=name)(x)


def conv_bn(
    x: keras.KerasTensor,
    filters: int,
    kernel: int | tuple[int, int],
    *,
    name: str,
    stride: int = 1,
    padding: str = "same",
    activation: str | None = "relu6",
    depthwise: bool = False,
    symmetric: bool = False,
    epsilon: float = 1e-3,
    scale: bool = True,
    gamma: str = "ones",
) -> keras.KerasTensor:
    """Convolution without bias, batch normalization, activation: `{name}`, `{name}_bn`, `{name}_{activation}`.

    With `depthwise`, one filter for each channel; `filters` is then ignored. With `symmetric`, a strided kernel gets
    the same padding on all four sides (`{name}_pad`), where `same` would put one pixel more below and to the right.
    `gamma` initializes the scale of the batch normalization; without `scale` it has none. Its momentum is 0.9, so that
    the statistics of a network trained from scratch follow within a hundred steps (Keras' 0.99 needs a thousand).
    """
    common = {"strides": stride, "padding": padding, "use_bias": False, "name": name}
    if symmetric and stride > 1 and isinstance(kernel, int) and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        common["padding"] = "valid"
    if depthwise:
        x = layers.DepthwiseConv2D(kernel, **common)(x)
    else:
        x = layers.Conv2D(filters, kernel, **common)(x)
    norm = {"momentum": 0.9, "epsilon": epsilon, "scale": scale, "gamma_initializer": gamma}
    x = layers.BatchNormalization(**norm, name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def local_response_norm(
    x: keras.KerasTensor,
    *,
    name: str,
    depth_radius: int = 2,
    bias: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
) -> keras.KerasTensor:
    """Local response normalization; without more, with the constants of Krizhevsky et al., 2012, section 3.3."""
    return LocalResponseNormalization(depth_radius, bias, alpha, beta, name=name)(x)


def zero_padded(x: keras.KerasTensor, filters: int, *, stride: int, name: str) -> keras.KerasTensor:
    """Every `stride`-th pixel of `[N, H, W, C]`, and zeros for further channels up to `filters`; without parameters.

    Source: option A of He et al., arXiv:1512.03385, section 3.3. Made of layers that every converter knows.
    """
    if stride > 1:
        x = layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
    _, height, width, channels = x.shape
    x = layers.Reshape((height * width, channels, 1), name=f"{name}_pixels")(x)
    x = layers.ZeroPadding2D(((0, 0), (0, filters - channels)), name=f"{name}_pad")(x)
    return layers.Reshape((height, width, filters), name=name)(x)


def gap_head(x: keras.KerasTensor, classes: int, dropout: float) -> keras.KerasTensor:
    """The head of transfer: global average pooling, dropout, one Dense. `[N, H, W, C]` to `[N, classes]` logits."""
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(classes, name="head_logits")(x)


def with_hidden_layer(model: keras.Model, width: int) -> keras.Model:
    """Puts a hidden layer of `width` units with ReLU (`head_hidden`) behind the pooling of `gap_head`.

    Its first output becomes the logits of the wider head; what else it has, stays. All other layers are shared.
    """
    dropout, logits = model.get_layer("head_dropout"), model.get_layer("head_logits")
    x = layers.Dense(width, activation="relu", name="head_hidden")(model.get_layer("head_pool").output)
    x = layers.Dropout(dropout.rate, name=dropout.name)(x)
    x = layers.Dense(logits.units, name=logits.name)(x)
    outputs = [x, *model.outputs[1:]]
    return keras.Model(model.input, outputs if len(outputs) > 1 else x, name=model.name)


def fully_connected_head(
    x: keras.KerasTensor, classes: int, dropout: float, *, units: int = 4096, dropout_first: bool = False
) -> keras.KerasTensor:
    """The head of AlexNet and VGG: two hidden layers of `units`, each with dropout. `[N, H, W, C]` to logits."""
    x = layers.Flatten(name="head_flatten")(x)
    for i in (1, 2):
        parts = [
            layers.Dense(units, activation="relu", name=f"head_fc{i}"),
            layers.Dropout(dropout, name=f"head_dropout{i}"),
        ]
        for part in reversed(parts) if dropout_first else parts:
            x = part(x)
    return layers.Dense(classes, name="head_logits")(x)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Rounds a scaled channel count to a multiple of `divisor`, never more than 10 % below.

    Source: the reference implementation of Howard et al., MobileNets, arXiv:1704.04861.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
