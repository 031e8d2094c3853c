"""Photos to batches: tlkit against `keras.utils.image_dataset_from_directory`, interleaved; and the wait for input.

    python benchmarks/input_pipeline.py FOLDER                    # photos as they are, then enlarged to 12 megapixels
    python benchmarks/input_pipeline.py FOLDER --only waiting

FOLDER holds `<class>/*.jpg`. Both sides make batches of 32 of the same size from files in the page cache; Keras takes
its defaults, so it does not antialias. Large photos are real ones, enlarged to 4000 x 3000, with noise, quality 90;
`--noise` says how much: what it adds to a file is read by both sides alike. Ratios are above 1 where tlkit is faster:
of images per second, and of images per CPU-second, which other processes on the machine disturb less. Waiting is the
share of training (MobileNetV2, all layers) spent in `next` of the iterator, photos decoded anew in every epoch.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from tlkit.data.augment import Augmentation  # noqa: E402
from tlkit.data.discover import Photo  # noqa: E402
from tlkit.data.pipeline import Batch, Pixels, in_order  # noqa: E402
from tlkit.models import registry  # noqa: E402
from tlkit.preprocess import PreprocessSpec  # noqa: E402
from tlkit.transfer.training import Schedule, compile_for_training  # noqa: E402

BATCH = 32


def timed(dataset: Iterable[object], count: int) -> tuple[float, float]:
    """Returns images per second and per CPU-second of one pass."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in dataset:
        pass
    return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


def photos_in(folder: Path) -> list[Photo]:
    return [Photo(str(path.relative_to(folder)), 0, path.name) for path in sorted(folder.rglob("*.jpg"))]


class Passes:
    """Iterates anew each time."""

    def __init__(self, pixels: Pixels, batches: list[Batch]) -> None:
        self.pixels, self.batches = pixels, batches

    def __iter__(self) -> Iterator[object]:
        return self.pixels.dataset(self.batches)


def compare(folder: Path, spec: PreprocessSpec, rounds: int) -> None:
    photos, size = photos_in(folder), spec.input_size
    keras_side = keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), batch_size=BATCH, verbose=False
    )
    # Both are made once, as for a training: making either costs about as much as a hundred photos.
    batches = [Batch(indices) for indices in in_order(len(photos), BATCH)]
    sides: dict[str, Iterable[object]] = {
        "tlkit": Passes(Pixels(folder, photos, spec, keep=False), batches),
        "Keras": keras_side,
    }
    ratios: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        order = list(sides) if number % 2 else list(sides)[::-1]
        found = {name: timed(sides[name], len(photos)) for name in order}
        (ours, ours_cpu), (theirs, theirs_cpu) = found["tlkit"], found["Keras"]
        if not number:  # both sides trace and warm up
            continue
        ratios.append((ours / theirs, ours_cpu / theirs_cpu))
        print(
            f"round {number}: tlkit {ours:.0f} images/s ({ours_cpu:.0f} per CPU-second), "
            f"Keras {theirs:.0f} ({theirs_cpu:.0f}), ratio {ours / theirs:.2f} ({ours_cpu / theirs_cpu:.2f})",
            flush=True,
        )
    wall, cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"{len(photos)} photos, input {size}, decode {spec.decode}: median ratio {wall:.2f} ({cpu:.2f} of CPU time)")


def enlarge(folder: Path, target: Path, count: int, noise: float) -> None:
    generator = np.random.default_rng(0)
    photos = photos_in(folder)
    for number, photo in enumerate(photos[:: max(1, len(photos) // count)][:count]):
        image = Image.open(folder / photo.path).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
        grain = generator.normal(0, noise, (3000, 4000, 1)).astype(np.float32)  # of brightness
        values = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        path = target / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(path, quality=90)


def waiting(folder: Path, spec: PreprocessSpec, level: str, steps: int) -> None:
    import tensorflow as tf

    photos, size = photos_in(folder), spec.input_size
    architecture = registry.find("mobilenet_v2")
    model = registry.build(architecture, classes=2, input_size=size, head="gap")
    schedule = Schedule(epochs=1, batch_size=BATCH, learning_rate=1e-3, patience=0)
    step = compile_for_training(model, schedule, steps=1000).train_on_batch
    generator = np.random.default_rng(0)
    batches = [generator.choice(len(photos), BATCH) for _ in range(steps + 3)]
    augmentation = None if level == "none" else Augmentation(level, views=None, seed=0)
    pixels = Pixels(folder, photos, spec, keep=False)
    dataset = iter(
        pixels.dataset((Batch(b, None if level == "none" else i) for i, b in enumerate(batches)), augmentation)
    )
    labels, weights = tf.zeros(BATCH, tf.int64), tf.ones(BATCH)
    waits, works = [], []
    for number in range(len(batches)):
        begun = time.perf_counter()
        _, values = next(dataset)
        ready = time.perf_counter()
        step(values, labels, weights)
        if number >= 3:  # tracing, and a full buffer
            waits.append(ready - begun)
            works.append(time.perf_counter() - ready)
    share = sum(waits) / (sum(waits) + sum(works))
    print(
        f"MobileNetV2 at {size}, augmentation {level}, decode {spec.decode}: a step {1e3 * statistics.mean(works):.0f} "
        f"ms, {share:.1%} of the time spent waiting for input",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--input-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--large", type=int, default=24, help="How many photos are enlarged.")
    parser.add_argument("--noise", type=float, default=2.0, help="Standard deviation in the large photos, grey levels.")
    parser.add_argument("--steps", type=int, default=20, help="Of training, for the wait.")
    parser.add_argument("--only", choices=["photos", "large", "waiting"])
    options = parser.parse_args()
    folder, size = options.folder.resolve(), options.input_size
    if options.only in (None, "photos"):
        compare(folder, PreprocessSpec(input_size=size), options.rounds)
    if options.only in (None, "large"):
        with tempfile.TemporaryDirectory() as name:
            enlarge(folder, Path(name), options.large, options.noise)
            total = sum(path.stat().st_size for path in Path(name).rglob("*.jpg"))
            size_each = total / options.large / 1e6
            print(f"{options.large} photos of 4000 x 3000, {size_each:.1f} MB each, noise {options.noise:g}")
            for decode in ("full", "scaled"):
                compare(Path(name), PreprocessSpec(input_size=size, decode=decode), options.rounds)
    if options.only in (None, "waiting"):
        for side in (96, 224):
            for level in ("none", "light", "strong"):
                waiting(folder, PreprocessSpec(input_size=side), level, options.steps)


if __name__ == "__main__":
    main()
