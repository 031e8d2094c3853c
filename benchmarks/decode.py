"""Decode and antialiased resize: Pillow in threads (what tlkit does) against TensorFlow's operations, interleaved.

    python benchmarks/decode.py FOLDER --input-size 224

FOLDER holds JPEG photos at any depth. Prints photos per second of both in each round, and the median ratio.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

from tlkit.data.discover import Photo  # noqa: E402
from tlkit.data.pipeline import Batch, Pixels, in_order  # noqa: E402
from tlkit.preprocess import PreprocessSpec  # noqa: E402


def rate(dataset: tf.data.Dataset, count: int) -> float:
    started = time.perf_counter()
    for _ in dataset:
        pass
    return count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--input-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = sorted(str(path) for path in options.folder.resolve().rglob("*.jpg"))
    size = options.input_size

    def decode(path: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE")
        return tf.cast(tf.round(tf.image.resize(image, (size, size), antialias=True)), tf.uint8)

    tensorflow = tf.data.Dataset.from_tensor_slices(files).map(decode, tf.data.AUTOTUNE).batch(32).prefetch(2)
    photos = [Photo(path, 0, "") for path in files]
    ratios = []
    for number in range(1, options.rounds + 1):
        pixels = Pixels(Path("/"), photos, PreprocessSpec(input_size=size))
        ours = rate(pixels.dataset(map(Batch, in_order(len(files), 32))), len(files))
        theirs = rate(tensorflow, len(files))
        ratios.append(ours / theirs)
        print(f"round {number}: tlkit {ours:.0f} photos/s, TensorFlow {theirs:.0f} photos/s, ratio {ours / theirs:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
