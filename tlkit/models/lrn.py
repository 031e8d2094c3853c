"""Local response normalization.

Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012, section 3.3. Whoever
loads a saved model that may hold this layer imports this module: it makes the layer known to Keras by its name.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tlkit")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each value by `(bias + alpha * sum of squares) ** beta`, over it and its neighbours in depth.

    Takes and returns `[N, H, W, C]`. Made of slices rather than a convolution: no convolution of an int8
    file may be float, and of this only the power is.

    Args:
        depth_radius: Neighbours on either side, so that the paper's n is `2 * depth_radius + 1`.
        bias: The paper's k.
        alpha: Of each square, as in the paper; Caffe and PyTorch divide theirs by n.
        beta: The exponent.
        **kwargs: Of every Keras layer, such as `name`.
    """

    def __init__(
        self,
        depth_radius: int = 2,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        self.depth_radius, self.bias, self.alpha, self.beta = depth_radius, bias, alpha, beta

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Normalizes `[N, H, W, C]`."""
        channels = x.shape[-1]
        around = ops.pad(x * x, [(0, 0), (0, 0), (0, 0), (self.depth_radius, self.depth_radius)])
        total = around[..., :channels]
        for shift in range(1, 2 * self.depth_radius + 1):
            total = total + around[..., shift : shift + channels]
        return x * ops.power(self.bias + self.alpha * total, -self.beta)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        own = ("depth_radius", "bias", "alpha", "beta")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
