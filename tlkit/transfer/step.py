"""The training step of whichever backend Keras runs on."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from tlkit.transfer.fused_adam import FusedAdam

if TYPE_CHECKING:
    from tlkit.transfer.training import Recipe

# From pixels or features, labels (`[N]` classes, or `[N, classes]` shares of them) and weights of a batch to the sum of
# its losses and the number of right answers.
TrainOnBatch = Callable[[Any, Any, Any], tuple[float, float]]


def make_step(
    model: keras.Model,
    optimizer: FusedAdam,
    recipe: "Recipe",
    averages: Sequence[keras.Variable],
    *,
    batch_size: int,
) -> TrainOnBatch:
    """Returns one step: cross-entropy of the logits, weighted, its gradients, and the update.

    Args:
        model: From anything to logits, and perhaps those of auxiliary classifiers, with `trainable` set.
        optimizer: Built for the model's trainable variables.
        recipe: How the step is made.
        averages: Of the trainable variables, moved along; empty without.
        batch_size: Photos in the largest batch.
    """
    if keras.backend.backend() == "jax":
        from tlkit.transfer import step_jax

        return step_jax.make_step(model, optimizer, recipe, averages, batch_size=batch_size)
    from tlkit.transfer import step_tensorflow

    return step_tensorflow.make_step(model, optimizer, recipe, averages)


def move_averages(
    trained: Sequence[keras.Variable], averages: Sequence[keras.Variable], decay: float, iterations: keras.Variable
) -> None:
    """Moves the averages toward the weights; in the first steps faster, or they would remember where they began."""
    if not averages:
        return
    step = keras.ops.cast(iterations, "float32")
    share = 1 - keras.ops.minimum(decay, (1 + step) / (10 + step))
    for average, variable in zip(averages, trained, strict=True):
        average.assign_add(share * (variable - average))
