"""How long, how fast, and in which order.

The order of the photos is a function of seed and epoch alone, so that training on cached features, training on pixels,
and training that was interrupted and goes on see the same batches.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tlkit.data.pipeline import in_order

WARMUP = 0.1  # of all steps


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
        sampling: `balanced` draws every class equally often, `natural` every photo once an epoch.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    optimizer: str = "adam"
    sampling: Literal["natural", "balanced"] = "natural"

    def steps_per_epoch(self, photos: int) -> int:
        """Returns the number of batches in an epoch."""
        return math.ceil(photos / self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Returns what the manifest says about it."""
        return asdict(self)


def epoch_order(
    count: int, batch_size: int, *, seed: int, epoch: int, labels: np.ndarray | None = None
) -> list[np.ndarray]:
    """Returns the batches of an epoch as arrays of indices: a shuffle given by seed and epoch alone.

    With `labels`, `[count]`, every class is drawn equally often (to one photo): photos of small classes come several
    times, of large ones some do not come.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(count) if labels is None else _balanced(labels, random)
    return [order[batch] for batch in in_order(count, batch_size)]


def _balanced(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draws as many photos as there are, every class equally often, a photo never twice more than another of its."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    shares = np.full(len(members), len(labels) // len(members))
    shares[random.permutation(len(members))[: len(labels) % len(members)]] += 1
    drawn = []
    for photos, share in zip(members, shares, strict=True):
        turns = [random.permutation(photos) for _ in range(math.ceil(share / len(photos)))]
        drawn.append(np.concatenate(turns)[:share] if turns else photos[:0])
    return random.permutation(np.concatenate(drawn))


def steps_from(done: int, labels: np.ndarray, schedule: Schedule, *, seed: int, first_epoch: int = 0) -> Iterator[Step]:
    """Yields the steps of all epochs that follow the first `done` ones.

    Args:
        done: Steps.
        labels: Of the training photos, `[photos]`.
        schedule: How many epochs of what batches.
        seed: Of the order.
        first_epoch: What the first epoch is called: epochs of the same name have the same order and views.
    """
    count = len(labels)
    first, skip = divmod(done, schedule.steps_per_epoch(count))
    drawn = labels if schedule.sampling == "balanced" else None
    for epoch in range(first_epoch + first, first_epoch + schedule.epochs):
        for indices in epoch_order(count, schedule.batch_size, seed=seed, epoch=epoch, labels=drawn)[skip:]:
            yield Step(indices, epoch)
        skip = 0
