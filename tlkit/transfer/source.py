"""Where training takes its batches from: cached features in memory, or pixels decoded ahead.

Both give the same photos in the same order, so both train the same head.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit.data.augment import Augmentation
from tlkit.data.multi_label import label_array
from tlkit.data.pipeline import KEEP_BYTES, Batch, Pixels, in_order
from tlkit.data.split import PhotoSet
from tlkit.preprocess import PreprocessSpec
from tlkit.transfer.features import Features, Parts
from tlkit.transfer.inference import inference
from tlkit.transfer.mix import Mix
from tlkit.transfer.schedule import Step

BATCH = 64  # of inference on pixels
BATCH_BYTES = 32 * 2**20  # of inference on features: those of early stages are large, and what follows is larger


@dataclass(frozen=True, kw_only=True)
class Source:
    """Batches for one training.

    Attributes:
        model: What is trained: the tail behind the cached features, or the whole model.
        batches: From batches of indices and epochs to inputs, labels and weights.
        val_logits: Logits of the validation photos from the model as it is, `[photos, classes]`.
        held_out_logits: Likewise of val and test.
    """

    model: keras.Model
    batches: Callable[[Iterable[Step]], Iterable[Any]]
    val_logits: Callable[[], np.ndarray]
    held_out_logits: Callable[[], np.ndarray]


def weights_of(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weight of each photo in the loss, `[photos]` float32; of several labels, that of each decision.

    Args:
        labels: `[photos]` classes; or `[photos, classes]`, 1 where a photo has the label, else 0.
        weights: `[classes]`; or `[2, classes]`, of not having a label and of having it.
    """
    if labels.ndim == 2 and weights.ndim == 2:
        weights = np.where(labels > 0.5, weights[1], weights[0])
    else:
        weights = np.broadcast_to(weights, labels.shape) if labels.ndim == 2 else weights[labels]
    return weights.astype(np.float32)


def cached_source(
    parts: Parts,
    features: Features,
    photos: PhotoSet,
    weights: np.ndarray,
    augmentation: Augmentation | None = None,
) -> Source:
    """Takes batches from cached features. `weights` holds the weight of each class in the loss; see `weights_of`."""
    # Small arrays move into memory; large ones stay on disk and are read batch by batch.
    array = np.array(features.array) if features.array.nbytes <= KEEP_BYTES else features.array
    views = [None] if augmentation is None else list(range(augmentation.views or 0))
    train = {view: features.rows(photos.train, view) for view in views}
    held_out = features.rows(photos.held_out)
    labels = label_array(photos.train, len(photos.classes))
    label_weights = weights_of(labels, weights)
    infer = inference(parts.tail)

    def batches(steps: Iterable[Step]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for step in steps:
            view = None if augmentation is None else augmentation.view(step.epoch)
            yield array[train[view][step.indices]], labels[step.indices], label_weights[step.indices]

    at_once = max(1, min(512, BATCH_BYTES // (array[:1].nbytes or 1)))

    def logits(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([infer(array[rows[i : i + at_once]]) for i in range(0, len(rows), at_once)])

    return Source(
        model=parts.tail,
        batches=batches,
        val_logits=lambda: logits(held_out[: len(photos.val)]),
        held_out_logits=lambda: logits(held_out),
    )


def pixel_source(
    model: keras.Model,
    photos: PhotoSet,
    spec: PreprocessSpec,
    weights: np.ndarray,
    augmentation: Augmentation | None = None,
    mix: Mix | None = None,
) -> Source:
    """Takes batches from pixels, decoded in parallel and ahead. `weights` as for `cached_source`."""
    train = Pixels(photos.root, photos.train, spec)
    held_out = Pixels(photos.root, photos.held_out, spec)
    labels = label_array(photos.train, len(photos.classes))
    label_weights = weights_of(labels, weights)
    infer = inference(model)

    def batches(steps: Iterable[Step]) -> Iterable[Any]:
        if mix is None:
            return plain(steps)
        ahead, now = itertools.tee(steps)  # the first is read some batches ahead
        return (mix(step, *batch) for step, batch in zip(now, plain(ahead), strict=False))

    def plain(steps: Iterable[Step]) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        def viewed() -> Iterator[Batch]:
            for step in steps:
                yield Batch(step.indices, None if augmentation is None else augmentation.view(step.epoch))

        for indices, pixels in train.dataset(viewed(), augmentation):
            yield pixels, labels[indices], label_weights[indices]

    def logits(count: int) -> np.ndarray:
        dataset = held_out.dataset(map(Batch, in_order(count, BATCH)))
        return np.concatenate([infer(pixels) for _, pixels in dataset])

    return Source(
        model=model,
        batches=batches,
        val_logits=lambda: logits(len(photos.val)),
        held_out_logits=lambda: logits(len(photos.held_out)),
    )
