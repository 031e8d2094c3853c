"""One training step with the TensorFlow backend: forward, backward and update as one graph."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tlkit.models.auxiliary import logits_of
from tlkit.transfer.devices import replicated, strategy_of
from tlkit.transfer.fused_adam import FusedAdam
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
        tf.TensorSpec((None,), tf.float32),
    ]
    smoothing = recipe.label_smoothing

    def step(
        x: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, mean: Callable[[tf.Tensor], tf.Tensor] = tf.reduce_mean
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            outputs = model(x, training=True)
            logits = logits_of(outputs)
            targets = labels * (1 - smoothing) + smoothing / classes if smoothing else labels
            losses = weights * tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = mean(losses)
            for auxiliary in outputs[1:] if len(model.outputs) > 1 else ():
                extra = tf.nn.softmax_cross_entropy_with_logits(targets, auxiliary)
                loss += recipe.auxiliary_weight * mean(weights * extra)
            loss = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(loss, watched), trained)
        move_averages(trained, averages, recipe.ema, optimizer.iterations)
        right = tf.argmax(logits, axis=-1) == tf.argmax(labels, axis=-1)
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(right, tf.float32))

    strategy = strategy_of(model)
    whole = step if strategy is None else replicated(strategy, step)
    traced = tf.function(whole, input_signature=signature, autograph=False)

    def run(x: Any, labels: Any, weights: Any) -> tuple[float, float]:  # noqa: ANN401
        losses, right = traced(x, one_hot(labels, classes), weights)
        return float(losses), float(right)

    return run
