"""What a weights file holds, before any of it is read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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


Described = dict[str, tuple[str, dict[str, Any]]]  # layers by name: their class, their config


def described(config: Any) -> Described:  # noqa: ANN401
    """Lists the layers in what `model.to_json()` returns, nested models' too, in their order."""
    found: Described = {}
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += reversed(node)
        if not isinstance(node, dict):
            continue
        kind, inside = node.get("class_name"), node.get("config")
        if isinstance(kind, str) and isinstance(inside, dict) and isinstance(inside.get("name"), str):
            found.setdefault(inside["name"], (kind, inside))
        waiting += reversed(node.values())
    return found


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The arrays of a file by layer.

    Attributes:
        layers: By the layer's name there; in the order kernel, bias, or scale, shift, mean, variance.
        torch: Whether they are laid out as PyTorch does.
        described: The layers of the model that it was saved from; empty where the file does not say.
        normalization: What the file itself says of its input: that of the model it was saved from.
    """

    layers: dict[str, list[Tensor]]
    torch: bool = False
    described: Described = field(default_factory=dict)
    normalization: Normalization | None = None
