"""The steps of the learning-rate finder: a short training at rising rates, of which nothing stays."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import keras
import numpy as np

from tlkit.progress import Progress
from tlkit.transfer.lr_finder import (
    BATCHES,
    HIGHEST,
    LOWEST,
    STEPS,
    Find,
    alike,
    has_diverged,
    rate_at,
    smooth,
    suggest,
)
from tlkit.transfer.schedule import Schedule, steps_from
from tlkit.transfer.source import Source
from tlkit.transfer.training import Recipe, compile_for_training


class Rising(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rates that grow exponentially; `rate_at` of each step."""

    def __call__(self, step: int) -> keras.KerasTensor:
        """Returns the learning rate of a step, from 0."""
        share = keras.ops.cast(step, "float32") / (STEPS - 1)
        return LOWEST * keras.ops.power(HIGHEST / LOWEST, share)


def sweep(
    source: Source,
    labels: np.ndarray,
    *,
    batch_size: int,
    frozen: Sequence[str],
    recipe: Recipe,
    stages: Sequence[str],
    seed: int,
    progress: Progress,
    title: str = "",
    sampling: Literal["natural", "balanced"] = "natural",
) -> Find:
    """Trains for up to `STEPS` steps, on the same few batches again and again, and puts everything back as it was.

    Args:
        source: Of batches; its model is trained from where it is.
        labels: Of the training photos, `[photos]`.
        batch_size: Photos in a step.
        frozen, recipe, stages: As for `compile_for_training`.
        seed: Of the order.
        progress: Shows a bar.
        title: Of what is trained.
        sampling: As in `Schedule`.
    """
    kept = [(variable, keras.ops.convert_to_numpy(variable).copy()) for variable in _state(source.model)]
    schedule = Schedule(epochs=STEPS, batch_size=batch_size, learning_rate=1.0, patience=0, sampling=sampling)
    compiled = compile_for_training(
        source.model,
        schedule,
        steps=STEPS,
        frozen=frozen,
        recipe=replace(recipe, ema=0.0),
        stages=stages,
        rate=Rising(),
    )
    losses: list[float] = []
    smoothed: list[float] = []
    some = list(
        itertools.islice(
            steps_from(0, labels, schedule, seed=seed), min(BATCHES, schedule.steps_per_epoch(len(labels)))
        )
    )
    order = [some[i % len(some)] for i in range(STEPS)]
    try:
        with progress.bar("Looking for a learning rate", STEPS, unit="steps") as bar:
            for step, batch in zip(order, source.batches(iter(order)), strict=False):
                total, _ = compiled.train_on_batch(*batch)
                losses.append(total / len(step.indices))
                smoothed = smooth(alike(losses, len(some)))
                bar.advance(note=f"rate {rate_at(len(losses) - 1):.1e}, loss {smoothed[-1]:.3f}")
                if has_diverged(smoothed):
                    break
    finally:
        for variable, value in kept:
            variable.assign(value)
    rates = [rate_at(i) for i in range(len(losses))]
    return Find(rates=rates, losses=losses, smoothed=smoothed, learning_rate=suggest(rates, smoothed), title=title)


def _state(model: keras.Model) -> list[keras.Variable]:
    """Returns all that steps could change: weights, statistics, and the states of random layers."""
    return [variable for layer in model.layers for variable in layer.variables]
