"""Whose weights a file holds: how a publisher names the layers of a family, lays out tensors and normalized the input.

A family's file has `ORIGINS: dict[str, Origin]` with the keys `keras` (keras.applications), `keras2` (its published
files, where Keras 3 names the layers otherwise) and `torch` (torchvision), for those who publish weights of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

# `x * scale + offset` on RGB in [0, 255], per channel: what weights were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SYMMETRIC = (1 / 127.5, -1.0)  # to [-1, 1]
UNIT = (1 / 255, 0.0)  # to [0, 1]
STANDARDIZED = (tuple(1 / (255 * s) for s in _STD), tuple(-m / s for m, s in zip(_MEAN, _STD, strict=True)))
# Simonyan and Zisserman, arXiv:1409.1556, section 2.1: the mean RGB value of the training set is subtracted.
MEAN_RGB = (123.68, 116.779, 103.939)
CENTRED = (1.0, tuple(-mean for mean in MEAN_RGB))

Normalization = tuple[float | tuple[float, ...], float | tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How one publisher writes a family's weights.

    Attributes:
        name_of: From a layer's name here to its name there; for torch, the prefix before `.weight`.
        normalization: Of the input in training. It moves into the model's Rescaling when the weights are loaded.
        torch: Whether tensors are laid out as PyTorch does (kernels `[O, I, H, W]`), rather than as Keras.
        bgr: Whether the first kernel takes blue first; it is reversed when it is loaded.
    """

    name_of: Callable[[str], str]
    normalization: Normalization
    torch: bool = False
    bgr: bool = False
