"""Photos mixed in pairs, and their labels with them: mixup and cutmix.

What is drawn depends on seed, epoch and photos alone, so a training that goes on mixes as one that was never stopped.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tlkit.transfer.schedule import Step
from tlkit.transfer.training import one_hot

# From pixels `[N, S, S, 3]`, labels and weights of a step to the same, mixed; labels are `[N, classes]` then.
Mix = Callable[[Step, Any, Any, Any], tuple[Any, Any, Any]]


def mixer(kind: str, *, classes: int, seed: int) -> Mix:
    """Returns the function that mixes batches.

    Args:
        kind: `mixup` blends two photos (Zhang et al., arXiv:1710.09412, section 2, alpha 0.2); `cutmix` puts a
            rectangle of one into the other (Yun et al., arXiv:1905.04899, section 3.1, alpha 1).
        classes: Number of classes.
        seed: Of what is drawn.
    """
    blend = {"mixup": _mixup, "cutmix": _cutmix}[kind]

    def mix(step: Step, pixels: Any, labels: Any, weights: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401
        random = np.random.default_rng([seed, step.epoch, *step.indices])
        partner = random.permutation(len(step.indices))
        mixed, share = blend(pixels, keras.ops.take(pixels, partner, axis=0), random)
        one, weight = one_hot(labels, classes), np.asarray(weights)
        two = np.asarray(one)[partner]
        return mixed, share * np.asarray(one) + (1 - share) * two, share * weight + (1 - share) * weight[partner]

    return mix


def _mixup(one: Any, two: Any, random: np.random.Generator) -> tuple[Any, np.float32]:  # noqa: ANN401
    share = np.float32(random.beta(0.2, 0.2))
    return share * one + (1 - share) * two, share


def _cutmix(one: Any, two: Any, random: np.random.Generator) -> tuple[Any, np.float32]:  # noqa: ANN401
    height, width = one.shape[1:3]
    side = np.sqrt(1 - random.beta(1.0, 1.0))
    rows, columns = (_stretch(size, side, random) for size in (height, width))
    inside = np.zeros((1, height, width, 1), np.float32)
    inside[:, rows, columns] = 1
    return one * (1 - inside) + two * inside, np.float32(1 - inside.mean())


def _stretch(size: int, share: float, random: np.random.Generator) -> slice:
    """Returns a part of a side around a random middle, cut off at the border."""
    half, middle = round(size * share) / 2, random.integers(0, size)
    return slice(max(0, int(middle - half)), min(size, int(middle + half)))
