"""A head trained on features in memory, for trying many: NumPy alone, so that no trial is traced.

A step computes what `training.compile_for_training` computes for the same head, with the same schedule and the same
batches; the numbers that dropout and a hidden layer begin with are others.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkit.transfer.schedule import WARMUP, Schedule, epoch_order

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7  # of Keras' Adam


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is tried: units of the hidden layer (0: none), dropout, learning rate and weight decay of the head."""

    head_width: int
    dropout: float
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Fold:
    """What a head is trained on and what it is validated on.

    Attributes:
        views: Features of the training photos, one array `[photos, features]` float32 for each view; epochs take turns.
        labels: Of the training photos, `[photos]`.
        held_out: Features of the others, `[others, features]` float32.
        held_out_labels: `[others]`.
    """

    views: list[np.ndarray]
    labels: np.ndarray
    held_out: np.ndarray
    held_out_labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Training:
    """What all trials have in common.

    Attributes:
        schedule: Epochs, batches, patience and sampling; the learning rate is a setting's.
        class_weights: In the loss, `[classes]`.
        label_smoothing: Share of each label that is spread over all classes.
        seed: Of the order, dropout and the hidden layer.
    """

    schedule: Schedule
    class_weights: np.ndarray
    label_smoothing: float
    seed: int


def rate_at(step: int, steps: int, learning_rate: float) -> float:
    """Returns the learning rate of a step: warm-up over a tenth of the steps, then a cosine to 0."""
    warmup = max(1, round(WARMUP * steps))
    first = learning_rate / (warmup + 1)
    if step < warmup:
        return first + (learning_rate - first) * step / warmup
    share = min((step - warmup) / max(1, steps - warmup), 1.0)
    return learning_rate * 0.5 * (1 + math.cos(math.pi * share))


class Head:
    """The weights of a head and the state of its optimizer."""

    def __init__(self, features: int, classes: int, setting: Setting, seed: int) -> None:
        self._setting, self._random, self._step = setting, np.random.default_rng(seed), 0
        widths = [features, setting.head_width, classes] if setting.head_width else [features, classes]
        self.weights: list[np.ndarray] = []  # kernel, bias of each layer
        for fan_in, fan_out in zip(widths, widths[1:], strict=False):
            last = fan_out == classes and len(self.weights) == 2 * (len(widths) - 2)
            limit = (
                0.0 if last else math.sqrt(6 / (fan_in + fan_out))
            )  # the final layer begins at zero, others as Glorot
            self.weights.append(self._random.uniform(-limit, limit, (fan_in, fan_out)).astype(np.float32))
            self.weights.append(np.zeros(fan_out, np.float32))
        self._moments = [(np.zeros_like(w), np.zeros_like(w), np.empty_like(w)) for w in self.weights]

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Returns `[N, classes]` logits of `[N, features]`."""
        if self._setting.head_width:
            x = np.maximum(x @ self.weights[0] + self.weights[1], 0)
        return x @ self.weights[-2] + self.weights[-1]

    def step(self, x: np.ndarray, targets: np.ndarray, weights: np.ndarray, learning_rate: float) -> None:
        """One step on `[N, features]` with targets `[N, classes]` and a weight of each photo in the loss, `[N]`."""
        hidden = np.maximum(x @ self.weights[0] + self.weights[1], 0) if self._setting.head_width else x
        kept = hidden
        if rate := self._setting.dropout:
            mask = (self._random.random(hidden.shape, np.float32) >= rate).astype(np.float32) / np.float32(1 - rate)
            kept = hidden * mask
        back = softmax(kept @ self.weights[-2] + self.weights[-1]) * targets.sum(axis=1, keepdims=True) - targets
        back *= (weights / len(x))[:, None]
        gradients = [kept.T @ back, back.sum(axis=0)]
        if self._setting.head_width:
            back = back @ self.weights[-2].T * (hidden > 0)
            if rate:
                back *= mask
            gradients = [x.T @ back, back.sum(axis=0), *gradients]
        self._update(gradients, learning_rate)

    def _update(self, gradients: list[np.ndarray], learning_rate: float) -> None:
        """Adam (Kingma and Ba, arXiv:1412.6980, Algorithm 1) with decoupled decay of kernels, in place."""
        self._step += 1
        alpha = learning_rate * math.sqrt(1 - _BETA_2**self._step) / (1 - _BETA_1**self._step)
        for weight, gradient, (m, v, room) in zip(self.weights, gradients, self._moments, strict=True):
            if weight.ndim > 1:
                weight *= 1 - learning_rate * self._setting.weight_decay
            m += (1 - _BETA_1) * (gradient - m)
            np.multiply(gradient, gradient, out=room)
            room -= v
            room *= 1 - _BETA_2
            v += room
            np.sqrt(v, out=room)
            room += _EPSILON
            np.divide(m, room, out=room)
            room *= alpha
            weight -= room


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities of `[N, classes]` logits, of their own type.

    Steps so stay in float32, which is fast; `training.softmax` returns float64, and comes with Keras.
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def trained(fold: Fold, setting: Setting, training: Training) -> Iterator[np.ndarray]:
    """Trains a head and yields, after each epoch, its logits on what is held out, `[others, classes]`."""
    schedule, classes, count = training.schedule, len(training.class_weights), len(fold.labels)
    head = Head(fold.held_out.shape[1], classes, setting, training.seed)
    targets = np.eye(classes, dtype=np.float32)[fold.labels]
    targets = targets * (1 - training.label_smoothing) + training.label_smoothing / classes
    weights = training.class_weights.astype(np.float32)[fold.labels]
    drawn = fold.labels if schedule.sampling == "balanced" else None
    steps, done = schedule.epochs * schedule.steps_per_epoch(count), 0
    for epoch in range(schedule.epochs):
        view = fold.views[epoch % len(fold.views)]
        for batch in epoch_order(count, schedule.batch_size, seed=training.seed, epoch=epoch, labels=drawn):
            head.step(view[batch], targets[batch], weights[batch], rate_at(done, steps, setting.learning_rate))
            done += 1
        yield head.logits(fold.held_out)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What validation says of a setting, in the epoch with the smallest mean loss.

    Attributes:
        losses: Log loss of each photo, `[photos]`.
        right: Whether it was recognized, `[photos]`.
        epoch: From 1.
    """

    losses: np.ndarray
    right: np.ndarray
    epoch: int

    def to_dict(self) -> dict[str, Any]:
        """Returns what the manifest says."""
        return {
            "log_loss": round(float(self.losses.mean()), 5),
            "accuracy": round(float(self.right.mean()), 5),
            "epoch": self.epoch,
        }


def dealt(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each photo, `[photos]`: every class is spread evenly."""
    random, found = np.random.default_rng(seed), np.zeros(len(labels), np.int64)
    dealt_before = 0
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        found[members] = (dealt_before + np.arange(len(members))) % folds
        dealt_before += len(members)
    return found


def epochs_of(folds: list[Fold], setting: Setting, training: Training) -> Iterator[Outcome]:
    """Yields, after each epoch, the best outcome so far over all folds; ends when patience does."""
    labels = np.concatenate([fold.held_out_labels for fold in folds])
    best: Outcome | None = None
    heads = [trained(fold, setting, training) for fold in folds]
    for epoch, logits in enumerate(zip(*heads, strict=True), start=1):
        probabilities = softmax(np.concatenate(logits).astype(np.float64))
        losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15))
        if best is None or losses.mean() < best.losses.mean():
            best = Outcome(losses=losses, right=probabilities.argmax(axis=1) == labels, epoch=epoch)
        yield best
        if training.schedule.patience and epoch - best.epoch >= training.schedule.patience:
            return


def measured(folds: list[Fold], setting: Setting, training: Training) -> Outcome:
    """Returns the outcome of a setting."""
    *_, last = epochs_of(folds, setting, training)
    return last
