"""What a weights file holds, before any of it is read."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tlkit.models.origins import Normalization


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One array of a file: its shape, and how to read it."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    def turned(self, axes: tuple[int, ...]) -> "Tensor":
        """Returns it with its axes in another order, as `np.transpose` takes it."""
        return Tensor(shape=tuple(self.shape[axis] for axis in axes), read=lambda: self.read().transpose(axes))

    def shaped(self, *shape: int) -> "Tensor":
        """Returns it in another shape of as many elements."""
        return Tensor(shape=shape, read=lambda: self.read().reshape(shape))


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The arrays of a file by layer.

    Attributes:
        layers: By the layer's name there; in the order kernel, bias, or scale, shift, mean, variance.
        torch: Whether they are laid out as PyTorch does.
        normalization: What the file itself says of its input: that of the model it was saved from.
    """

    layers: dict[str, list[Tensor]]
    torch: bool = False
    normalization: Normalization | None = None
