"""One training step with the JAX backend: forward, backward and update as one compiled function.

JAX compiles for each shape. Where nothing in the model looks across photos, a batch that is smaller than the others, as
the last of an epoch is, is filled up with photos that count for nothing; where batch norms are trained that would
change their statistics, so there a second shape is compiled. Up to the batch size and no less, whichever batch came
first: what dropout draws depends on the shape, and a training that goes on has to draw what it would have drawn.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from tlkit.models.auxiliary import logits_of
from tlkit.transfer.fused_adam import FusedAdam
from tlkit.transfer.losses import cross_entropy, right_answers
from tlkit.transfer.padding import padded
from tlkit.transfer.step import TrainOnBatch, move_averages
from tlkit.transfer.training import Recipe, one_hot

Values = list[jax.Array]


def make_step(
    model: keras.Model,
    optimizer: FusedAdam,
    recipe: Recipe,
    averages: Sequence[keras.Variable],
    *,
    batch_size: int,
) -> TrainOnBatch:
    """Returns one step, as `tlkit.transfer.step.make_step` says; the variables hold their new values after each."""
    classes = model.outputs[0].shape[-1]
    frozen, drawn = _split(model)
    trained, own = model.trainable_variables, [*optimizer.variables, optimizer.slowdown, *averages]
    moved = (trained, drawn, own)
    loss_of = _loss(model, recipe, moved, frozen)

    def step(
        now: tuple[Values, Values, Values], frozen_now: Values, batch: tuple[jax.Array, ...], count: jax.Array
    ) -> tuple[tuple[Values, Values, Values], jax.Array, jax.Array]:
        x, labels, weights = batch
        real = jnp.arange(len(x)) < count
        shares = jnp.where(real, weights, 0) / count
        found, gradients = jax.value_and_grad(loss_of, has_aux=True)(now[0], now[1], frozen_now, x, labels, shares)
        losses, logits, drawn_now = found[1]
        with keras.StatelessScope(state_mapping=[*_pairs(trained, now[0]), *_pairs(own, now[2])]) as scope:
            optimizer.apply(gradients, trained)
            move_averages(trained, averages, recipe.ema, optimizer.iterations)
        right = jnp.sum(jnp.where(real, right_answers(labels, logits, multi_label=recipe.multi_label), 0))
        after = (_values(scope, trained), drawn_now, _values(scope, own))
        return after, count * losses, right

    compiled = jax.jit(step, donate_argnums=0)
    rows = batch_size if _is_per_photo(model) else 0

    def run(x: Any, labels: Any, weights: Any) -> tuple[float, float]:  # noqa: ANN401
        batch = tuple(padded(part, rows) for part in (x, one_hot(labels, classes), weights))
        now = _to_give_away(moved)
        after, losses, right = compiled(now, [one.value for one in frozen], batch, np.float32(len(x)))
        for part, values in zip(moved, after, strict=True):
            for variable, value in _pairs(part, values):
                variable.assign(value)
        return float(losses), float(right)

    return run


def _to_give_away(variables: Iterable[Sequence[keras.Variable]]) -> tuple[Values, ...]:
    """Returns the values of variables, each in memory of its own: after an assignment two variables may share it."""
    seen: set[int] = set()

    def own(value: jax.Array) -> jax.Array:
        if id(value) in seen:
            return jnp.copy(value)
        seen.add(id(value))
        return value

    return tuple([own(variable.value) for variable in part] for part in variables)


def _loss(
    model: keras.Model, recipe: Recipe, moved: tuple[list[Any], ...], frozen: list[keras.Variable]
) -> Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array, Values]]]:
    """Returns the function whose gradient is taken.

    It gives the loss; beside it the sum of the logits' own losses, the logits, and what the forward pass has moved.
    """
    trained, drawn, _ = moved
    losses_of = partial(cross_entropy, smoothing=recipe.label_smoothing, multi_label=recipe.multi_label)

    def loss_of(
        trained_now: Values,
        drawn_now: Values,
        frozen_now: Values,
        x: jax.Array,
        labels: jax.Array,
        shares: jax.Array,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Values]]:
        mapping = [*_pairs(trained, trained_now), *_pairs(drawn, drawn_now), *_pairs(frozen, frozen_now)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            outputs = model(x, training=True)
        logits = logits_of(outputs)
        losses = jnp.sum(losses_of(labels, logits, shares))
        loss = losses
        for auxiliary in outputs[1:] if len(model.outputs) > 1 else ():
            loss += recipe.auxiliary_weight * jnp.sum(losses_of(labels, auxiliary, shares))
        return loss, (losses, logits, _values(scope, drawn))

    return loss_of


def _split(model: keras.Model) -> tuple[list[keras.Variable], list[keras.Variable]]:
    """Splits what has no gradient into what a step only reads, weights of frozen layers, and what it may move.

    The second, statistics and states of random layers, is given away to the step; the first would be lost if it were.
    """
    frozen = [weight for layer in model.layers if not layer.trainable for weight in layer.weights]
    known = {id(weight) for weight in frozen}
    return frozen, [variable for variable in model.non_trainable_variables if id(variable) not in known]


def _pairs(variables: Sequence[Any], values: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(variables, values, strict=True))


def _values(scope: keras.StatelessScope, variables: Sequence[Any]) -> Values:
    return [scope.get_current_value(variable) for variable in variables]


def _is_per_photo(model: keras.Model) -> bool:
    """Whether the output of a photo does not depend on those beside it."""
    return not any(isinstance(layer, keras.layers.BatchNormalization) and layer.trainable for layer in model.layers)
