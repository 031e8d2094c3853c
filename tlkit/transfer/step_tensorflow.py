"""One training step with the TensorFlow backend: forward, backward and update as one graph."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from tlkit.models.auxiliary import logits_of
from tlkit.transfer.devices import replicated, strategy_of
from tlkit.transfer.fused_adam import FusedAdam
from tlkit.transfer.losses import cross_entropy, right_answers
from tlkit.transfer.step import TrainOnBatch, move_averages
from tlkit.transfer.training import Recipe, one_hot


def make_step(
    model: keras.Model, optimizer: FusedAdam, recipe: Recipe, averages: Sequence[keras.Variable]
) -> TrainOnBatch:
    """Returns one step as one graph: cross-entropy of the logits, weighted, its gradients, and the update.

    What it reports is of the logits alone, so that it can be compared with what validation gives.
    """
    trained = model.trainable_variables
    watched = [variable.value for variable in trained]
    classes = model.outputs[0].shape[-1]
    signature = [
        tf.TensorSpec((None, *model.input.shape[1:]), tf.float32),
        tf.TensorSpec((None, classes), tf.float32),
        tf.TensorSpec((None, classes) if recipe.multi_label else (None,), tf.float32),
    ]
    losses_of = partial(cross_entropy, smoothing=recipe.label_smoothing, multi_label=recipe.multi_label)

    def step(
        x: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, mean: Callable[[tf.Tensor], tf.Tensor] = tf.reduce_mean
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            outputs = model(x, training=True)
            logits = logits_of(outputs)
            losses = losses_of(labels, logits, weights)
            loss = mean(losses)
            for auxiliary in outputs[1:] if len(model.outputs) > 1 else ():
                loss += recipe.auxiliary_weight * mean(losses_of(labels, auxiliary, weights))
            loss = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(loss, watched), trained)
        move_averages(trained, averages, recipe.ema, optimizer.iterations)
        return tf.reduce_sum(losses), tf.reduce_sum(right_answers(labels, logits, multi_label=recipe.multi_label))

    strategy = strategy_of(model)
    whole = step if strategy is None else replicated(strategy, step)
    traced = tf.function(whole, input_signature=signature, autograph=False)

    def run(x: Any, labels: Any, weights: Any) -> tuple[float, float]:  # noqa: ANN401
        losses, right = traced(x, one_hot(labels, classes), weights)
        return float(losses), float(right)

    return run
