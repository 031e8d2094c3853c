"""Training on an accelerator: images/s on data in memory, and what share of the chip's measured matrix rate that is.

    python benchmarks/gpu_train.py            # ResNet-50 and MobileNetV2 at 224, batches of 64, 128 and 256
    python benchmarks/gpu_train.py --cpu      # tiny, to try the script itself

The step is that of `tlkit finetune` (all stages trained, Adam) in mixed_bfloat16, on batches that lie in memory. The
rate of the chip is that of a large bfloat16 matrix product, measured here before and after. Training a photo takes
three passes (one forward, two backward) of 2 FLOPs for each multiply-accumulate of `tlkit.models.counts`.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tlkit.models import registry
from tlkit.models.counts import COUNTS
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.training import Recipe, compile_for_training
from tlkit.transfer.twin import twin_of

NETWORKS, BATCHES, SIZE = ("resnet50", "mobilenet_v2"), (64, 128, 256), 224
POLICY = "mixed_bfloat16"
# Of what is measured: steps, and the side of the matrices.
STEPS, ROUNDS, SIDE = 30, 3, 8192
TINY = {"networks": ("lenet5_rgb",), "batches": (8,), "steps": 2, "rounds": 2, "side": 256}


def seconds(run: Callable[[], Any], times: int) -> float:
    """Returns what one of several runs takes; the result of the last is waited for."""
    started = time.perf_counter()
    for _ in range(times):
        answer = run()
    np.asarray(answer)
    return (time.perf_counter() - started) / times


def matrix_rate(side: int, times: int = 20) -> float:
    """Returns the FLOP/s of a bfloat16 product of two square matrices."""
    a, b = (tf.cast(tf.random.normal((side, side)), tf.bfloat16) for _ in range(2))

    @tf.function
    def product() -> tf.Tensor:
        x = a
        for _ in range(4):  # a chain, so that launching it costs next to nothing
            x = tf.matmul(x, b)
        return tf.cast(x[0, 0], tf.float32)

    product()
    return 4 * 2 * side**3 / seconds(product, times)


def step_of(name: str, size: int, batch: int) -> Callable[[], Any]:
    """Returns one step on a batch in memory."""
    keras.utils.set_random_seed(0)
    model = twin_of(registry.build(name, input_size=size), POLICY, None)
    schedule = Schedule(epochs=1, batch_size=batch, learning_rate=1e-4, patience=0)
    compiled = compile_for_training(model, schedule, steps=100_000, recipe=Recipe(batch_norm="train"))
    random = np.random.default_rng(0)
    pixels = tf.constant(random.uniform(0, 255, (batch, *model.input.shape[1:])), tf.float32)
    classes = model.outputs[0].shape[-1]
    labels, weights = tf.one_hot(random.integers(0, classes, batch), classes), tf.ones((batch,))
    return lambda: compiled.train_on_batch(pixels, labels, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="A tiny version, to try the script itself.")
    options = parser.parse_args()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and not options.cpu:
        sys.exit("There is no GPU, so there is nothing to measure. `--cpu` tries the script itself.")
    if options.cpu:
        print("On a CPU and tiny: these figures say nothing, other than that the script runs.")
        networks, batches, steps, rounds, side = TINY.values()
    else:
        print(
            tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"), f"TensorFlow {tf.__version__}"
        )
        networks, batches, steps, rounds, side = NETWORKS, BATCHES, STEPS, ROUNDS, SIDE
    rate = matrix_rate(side)
    print(f"matrix product of side {side} in bfloat16: {rate / 1e12:.3g} TFLOP/s")
    print(f"{'network':<14} {'batch':>5} {'first step':>10} {'images/s':>9} {'share of the matrix rate':>25}")
    for name in networks:
        size = registry.find(name).input_size if options.cpu else SIZE
        for batch in batches:
            step = step_of(name, size, batch)
            first = seconds(step, 1)
            seconds(step, 2)
            speed = batch / statistics.median(seconds(step, steps) for _ in range(rounds))
            share = speed * 3 * 2 * COUNTS[name].macs / rate
            print(f"{name:<14} {batch:>5} {first:>8.1f} s {speed:>9.0f} {share:>25.1%}", flush=True)
            keras.backend.clear_session()
    print(f"matrix product again: {matrix_rate(side) / 1e12:.3g} TFLOP/s")


if __name__ == "__main__":
    main()
