"""One training: `trainable`, the optimizer and the traced step in one call, and the order of the photos.

The order is a function of seed and epoch alone, so that training on cached features, training on pixels, and training
that was interrupted and goes on see the same batches.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from tlkit.data.pipeline import in_order
from tlkit.models.auxiliary import logits_of
from tlkit.transfer.freeze import stage_of
from tlkit.transfer.fused_adam import FusedAdam

WARMUP = 0.1  # of all steps

# From pixels or features, labels and weights of a batch to the sum of its losses and the number of right answers.
TrainOnBatch = Callable[[Any, Any, Any], tuple[float, float]]


class Step(NamedTuple):
    """The photos of one step, `[N]` indices into the training photos, and its epoch, from 0."""

    indices: np.ndarray
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast: goes into the manifest.

    Attributes:
        epochs: At most.
        batch_size: Photos in a step.
        learning_rate: At the end of the warm-up; a cosine takes it to 0.
        patience: Epochs without a smaller validation loss after which training stops; 0 means never.
        optimizer: Of Keras.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    optimizer: str = "adam"

    def steps_per_epoch(self, photos: int) -> int:
        """Returns the number of batches in an epoch."""
        return math.ceil(photos / self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Returns what the manifest says about it."""
        return asdict(self)


def epoch_order(count: int, batch_size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
    """Returns the batches of an epoch as arrays of indices: a shuffle given by seed and epoch alone."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[batch] for batch in in_order(count, batch_size)]


def steps_from(done: int, count: int, schedule: Schedule, *, seed: int) -> Iterator[Step]:
    """Yields the steps of all epochs that follow the first `done` ones."""
    first, skip = divmod(done, schedule.steps_per_epoch(count))
    for epoch in range(first, schedule.epochs):
        for indices in epoch_order(count, schedule.batch_size, seed=seed, epoch=epoch)[skip:]:
            yield Step(indices, epoch)
        skip = 0


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A model ready for training: a step is traced on first use, for any batch size.

    Attributes:
        train_on_batch: One step.
        optimizer: With its variables made.
        variables: All that training moves: trained weights, the statistics of trained batch norms, the states of
            random layers.
    """

    train_on_batch: TrainOnBatch
    optimizer: keras.optimizers.Optimizer
    variables: list[keras.Variable]


def compile_for_training(
    model: keras.Model,
    schedule: Schedule,
    *,
    steps: int,
    frozen: Sequence[str] = (),
    batch_norm_frozen: bool = False,
    auxiliary_weight: float = 0.0,
) -> Compiled:
    """Sets `trainable`, builds the optimizer, and makes the step: what training needs, in the order that Keras needs.

    A step reads `trainable` when it is traced, and variables of an optimizer that are made inside the trace cost a
    second one. Keras' `fit` takes three times as long to its first step (benchmarks/startup.py).

    Args:
        model: From anything to logits, and perhaps those of auxiliary classifiers; its layers are named by stage.
        schedule: Warm-up over a tenth of the steps to its learning rate, then a cosine to 0.
        steps: Steps in the whole training.
        frozen: Names of stages; their batch norms stay in inference mode and their statistics do not move.
        batch_norm_frozen: Whether the batch norms of trained stages keep their pretrained statistics too.
        auxiliary_weight: Of the cross-entropy of each auxiliary classifier.
    """
    for layer in model.layers:
        fixed_norm = batch_norm_frozen and isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = stage_of(layer.name) not in frozen and not fixed_norm
    warmup = max(1, round(WARMUP * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=schedule.learning_rate / (warmup + 1),  # from 0, the first step would be lost
        decay_steps=max(1, steps - warmup),
        warmup_target=schedule.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = FusedAdam(learning_rate=rate)
    optimizer.build(model.trainable_variables)
    moved = [variable for layer in model.layers if layer.trainable for variable in layer.variables]
    return Compiled(train_on_batch=_traced(model, optimizer, auxiliary_weight), optimizer=optimizer, variables=moved)


def _traced(model: keras.Model, optimizer: keras.optimizers.Optimizer, auxiliary_weight: float) -> TrainOnBatch:
    """Returns one step as one graph: cross-entropy of the logits, weighted, its gradients, and the update.

    What it reports is of the logits alone, so that it can be compared with what validation gives.
    """
    import tensorflow as tf

    trained = model.trainable_variables
    watched = [variable.value for variable in trained]
    signature = [
        tf.TensorSpec((None, *model.input.shape[1:]), tf.float32),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.float32),
    ]

    @tf.function(input_signature=signature, autograph=False)
    def step(x: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            outputs = model(x, training=True)
            logits = logits_of(outputs)
            losses = weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
            for auxiliary in outputs[1:] if len(model.outputs) > 1 else ():
                extra = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, auxiliary)
                loss += auxiliary_weight * tf.reduce_mean(weights * extra)
        optimizer.apply(tape.gradient(loss, watched), trained)
        right = tf.argmax(logits, axis=-1) == labels
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(right, tf.float32))

    def run(x: Any, labels: Any, weights: Any) -> tuple[float, float]:  # noqa: ANN401
        losses, right = step(x, labels, weights)
        return float(losses), float(right)

    return run


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities of `[N, classes]` logits, in float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
