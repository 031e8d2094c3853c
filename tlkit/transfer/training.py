"""One training: `trainable`, compilation and the optimizer's variables in one call, then `fit` over a given order.

The order of photos is a function of seed and epoch alone, so that training on cached features and training on pixels
see the same batches.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from tlkit import metrics
from tlkit.data.pipeline import in_order
from tlkit.errors import OptionError
from tlkit.progress import Bar
from tlkit.transfer.freeze import stage_of

WARMUP = 0.1  # of all steps


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


@dataclass(kw_only=True)
class History:
    """What happened in each epoch: one row of history.csv each."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0


def epoch_order(count: int, batch_size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
    """Returns the batches of an epoch as arrays of indices: a shuffle given by seed and epoch alone."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[batch] for batch in in_order(count, batch_size)]


def whole_order(count: int, schedule: Schedule, *, seed: int) -> Iterator[np.ndarray]:
    """Yields the batches of all epochs."""
    for epoch in range(schedule.epochs):
        yield from epoch_order(count, schedule.batch_size, seed=seed, epoch=epoch)


def steps_per_epoch(count: int, schedule: Schedule) -> int:
    """Returns the number of batches in an epoch."""
    return math.ceil(count / schedule.batch_size)


def compile_for_training(
    model: keras.Model,
    schedule: Schedule,
    *,
    steps: int,
    frozen: Sequence[str] = (),
    batch_norm_frozen: bool = False,
) -> None:
    """Sets `trainable`, compiles, and builds the optimizer: what `fit` needs, in the order that Keras needs.

    Keras reads `trainable` when it compiles, and variables of an optimizer or metric that are made inside the first
    trace cost a second one.

    Args:
        model: From anything to logits; its layers are named by stage.
        schedule: Warm-up over a tenth of the steps to its learning rate, then a cosine to 0.
        steps: Steps in the whole training.
        frozen: Names of stages; their batch norms stay in inference mode and their statistics do not move.
        batch_norm_frozen: Whether the batch norms of trained stages keep their pretrained statistics too.
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
    model.compile(
        optimizer=keras.optimizers.get({"class_name": schedule.optimizer, "config": {"learning_rate": rate}}),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],  # a name would be made in the trace
        jit_compile=False,  # compiling takes longer than it saves on a CPU, and depthwise layers become slower
    )
    model.optimizer.build(model.trainable_variables)


class KeepBest(keras.callbacks.Callback):
    """Validates after each epoch, keeps the weights with the smallest validation loss, stops when patience ends.

    Args:
        predict: Returns `[val photos, classes]` logits of the model as it is.
        labels: `[val photos]` class indices.
        schedule: For its patience.
        bar: Shown progress, one unit a photo.
        photos: Photos in an epoch.
    """

    def __init__(
        self, predict: Callable[[], np.ndarray], labels: np.ndarray, schedule: Schedule, bar: Bar, photos: int
    ) -> None:
        super().__init__()
        self.history = History()
        self._predict, self._labels, self._schedule, self._bar = predict, labels, schedule, bar
        self._photos = photos
        self._best_loss = math.inf
        self._best_weights: list[np.ndarray] = []
        self._started = time.perf_counter()
        self._val = ""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves the bar."""
        size = self._schedule.batch_size
        done = min(size, self._photos - batch * size)
        self._bar.advance(done, note=f"loss {(logs or {}).get('loss', math.nan):.3f}{self._val}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validates, remembers, decides."""
        logs = logs or {}
        probabilities = softmax(self._predict())
        row = {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "accuracy": float(logs["accuracy"]),
            "val_loss": metrics.log_loss(probabilities, self._labels),
            "val_accuracy": metrics.accuracy(probabilities, self._labels),
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "seconds": time.perf_counter() - self._started,
        }
        if not math.isfinite(row["loss"]) or not math.isfinite(row["val_loss"]):
            raise OptionError(
                f"Training diverged: in epoch {epoch + 1} the loss is not a number any more. "
                f"Use a smaller --learning-rate than {self._schedule.learning_rate:g}."
            )
        self._started = time.perf_counter()
        self.history.rows.append(row)
        self._val = f", validation accuracy {row['val_accuracy']:.1%}"
        self._bar.advance(0, note=f"epoch {epoch + 1}, loss {row['loss']:.3f}{self._val}")
        if row["val_loss"] < self._best_loss:
            self._best_loss = row["val_loss"]
            self.history.best_epoch = epoch + 1
            self._best_weights = [keras.ops.convert_to_numpy(weight) for weight in self._moving()]
        elif self._schedule.patience and epoch + 1 - self.history.best_epoch >= self._schedule.patience:
            self.model.stop_training = True

    def _moving(self) -> list[Any]:
        """Lists the variables that training moves: trained ones, and the statistics of trained batch norms."""
        trainable = [layer for layer in self.model.layers if layer.trainable]
        return [weight for layer in trainable for weight in layer.weights]

    def restore(self) -> None:
        """Puts the best weights back."""
        for weight, value in zip(self._moving(), self._best_weights, strict=True):
            weight.assign(value)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities of `[N, classes]` logits, in float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def schedule_to_dict(schedule: Schedule, history: History) -> dict[str, Any]:
    """Returns the manifest's `schedule`."""
    return {**asdict(schedule), "epochs_run": len(history.rows), "best_epoch": history.best_epoch}
