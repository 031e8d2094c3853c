"""All layers of MobileNetV2 at 96 pixels: tlkit's training from files against a bare `model.fit` on batches in memory.

    python benchmarks/bare_fit.py ../shared/data/sign_digits [--rounds 3]

tlkit's side is its whole training: photos decoded, resized and augmented, checkpoints written. The bare side is Keras'
`fit` with Adam on the same number of pixels that already lie in memory as batches, without metrics, with the same batch
norms frozen or trained. Both are measured from the end of the first step to that of the last of an epoch, interleaved.
Prints images/s and the ratio of each round, and their medians; 1 means as fast. On a machine that does other things
beside, the ratio of images per second of CPU time says more, and is printed too. Figures: docs/devices.md.
"""

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tlkit.data.augment import Augmentation
from tlkit.data.pipeline import Pixels
from tlkit.data.split import PhotoSet
from tlkit.models import registry
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Bar, Progress
from tlkit.transfer.loop import Training
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.photos import read_photos
from tlkit.transfer.plans import plan
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.source import pixel_source
from tlkit.transfer.training import Recipe

SIZE, BATCH = 96, 32


class Clock(keras.callbacks.Callback):
    """The times at which steps end: of the wall, and of the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.ends.append(np.array([time.perf_counter(), time.process_time()]))

    @property
    def images_per_second(self) -> np.ndarray:
        return BATCH * (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])


class Watch(Progress):
    """The same of tlkit's training."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    @contextmanager
    def bar(self, title: str, total: int, unit: str = "images") -> Iterator[Bar]:
        bar = Bar(total)
        bar.advance = lambda images, note="": self.clock.on_train_batch_end(0) if images else None
        yield bar


def network(classes: int, *, frozen: bool) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = registry.build("mobilenet_v2", classes=classes, input_size=SIZE, head="gap")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = not frozen
    return model


def bare(photos: PhotoSet, *, frozen: bool) -> np.ndarray:
    """Returns images/s, of the wall and of the CPU, of Keras' `fit`."""
    pixels = Pixels(photos.root, photos.train, PreprocessSpec(input_size=SIZE))
    x = pixels.load(np.arange(len(photos.train))).astype(np.float32)
    y = np.array([photo.label for photo in photos.train])
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).cache().prefetch(2)
    for _ in batches:  # now they lie in memory
        pass
    model, clock = network(len(photos.classes), frozen=frozen), Clock()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss=loss)
    model.fit(batches, epochs=1, verbose=0, callbacks=[clock])
    return clock.images_per_second


def ours(photos: PhotoSet, *, frozen: bool, augment: str) -> np.ndarray:
    """Returns the same of tlkit's training."""
    clock = Clock()
    augmentation = None if augment == "none" else Augmentation(augment, views=None, seed=0)
    source = pixel_source(
        network(len(photos.classes), frozen=frozen),
        photos,
        PreprocessSpec(input_size=SIZE),
        np.ones(len(photos.classes)),
        augmentation,
    )
    with tempfile.TemporaryDirectory() as folder:
        training = Training(
            source,
            photos,
            Schedule(epochs=1, batch_size=BATCH, learning_rate=1e-4, patience=0),
            frozen=(),
            recipe=Recipe(batch_norm="frozen" if frozen else "train", weight_decay=0.01),
            seed=0,
            folder=Path(folder),
        )
        training.run(Watch(clock))
    return clock.images_per_second


def shown(ratio: np.ndarray) -> str:
    return f"{ratio[0]:.2f} ({ratio[1]:.2f} of CPU time)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    wanted = FinetuneOptions(base="mobilenet_v2", data=options.data, weights="none", freeze="none", input_size=SIZE)
    photos = read_photos(wanted, plan(wanted), Progress())
    count = min(options.steps, len(photos.train) // BATCH) * BATCH
    photos = dataclasses.replace(photos, train=photos.train[:count], val=photos.val[:BATCH])
    ratios: dict[tuple[str, str], list[np.ndarray]] = {}
    for number in range(1, options.rounds + 1):
        for frozen in (True, False):
            norms = "frozen" if frozen else "trained"
            theirs = bare(photos, frozen=frozen)
            for augment in ("none", "light"):
                speed = ours(photos, frozen=frozen, augment=augment)
                ratios.setdefault((norms, augment), []).append(speed / theirs)
                print(
                    f"round {number}, batch norm {norms:<7} augment {augment:<5} bare {theirs[0]:>6.1f} images/s, "
                    f"tlkit {speed[0]:>6.1f}, ratio {shown(speed / theirs)}",
                    flush=True,
                )
            keras.backend.clear_session()
    for (norms, augment), values in ratios.items():
        each = ", ".join(map(shown, values))
        print(f"median, batch norm {norms}, augment {augment}: {shown(np.median(values, axis=0))} (rounds: {each})")


if __name__ == "__main__":
    main()
