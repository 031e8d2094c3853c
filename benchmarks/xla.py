"""The training step with and without XLA, interleaved: MobileNetV2 at 96 pixels and ResNet-50 at 64, batches of 32.

    python benchmarks/xla.py [--rounds 5]

The step is that of tlkit (all stages trained, batch norms frozen, Adam), traced once as it is and once with
`jit_compile`. Prints the seconds of the first step (tracing, optimizing, compiling), milliseconds of a later one, and
what share of the time XLA needs, of the wall and of the CPU; below 1 it helps. Figures: docs/devices.md.
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tlkit.models import registry
from tlkit.transfer import training
from tlkit.transfer.schedule import Schedule

NETWORKS = {"mobilenet_v2": 96, "resnet50": 64}
BATCH, STEPS = 32, 5


def step_of(name: str, size: int, *, compiled: bool) -> Callable[..., Any]:
    """Returns tlkit's training step; `compiled` traces it for XLA."""
    keras.utils.set_random_seed(0)
    model = registry.build(name, classes=10, input_size=size, head="gap")
    schedule = Schedule(epochs=1, batch_size=BATCH, learning_rate=1e-4, patience=0)
    recipe = training.Recipe(batch_norm="frozen")
    with patch.object(tf, "function", functools.partial(tf.function, jit_compile=compiled)):
        return training.compile_for_training(model, schedule, steps=10_000, recipe=recipe).train_on_batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    for name, size in NETWORKS.items():
        batch = (
            random.uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32),
            random.integers(0, 10, BATCH),
            np.ones(BATCH, np.float32),
        )
        steps = {compiled: step_of(name, size, compiled=compiled) for compiled in (False, True)}
        first, each, work = {}, {False: [], True: []}, {False: [], True: []}
        for compiled, step in steps.items():
            started = time.perf_counter()
            step(*batch)
            first[compiled] = time.perf_counter() - started
        for _ in range(options.rounds):
            for compiled, step in steps.items():
                started, begun = time.perf_counter(), time.process_time()
                for _ in range(options.steps):
                    step(*batch)
                each[compiled].append((time.perf_counter() - started) / options.steps)
                work[compiled].append((time.process_time() - begun) / options.steps)
        of_work = statistics.median(xla / plain for plain, xla in zip(work[False], work[True], strict=True))
        ratios = [xla / plain for plain, xla in zip(each[False], each[True], strict=True)]
        plain, xla = (1000 * statistics.median(each[compiled]) for compiled in (False, True))
        print(
            f"{name} at {size}: first step {first[False]:.1f} s, with XLA {first[True]:.1f} s; later ones "
            f"{plain:.0f} ms, with XLA {xla:.0f} ms: {statistics.median(ratios):.2f} of the time "
            f"(rounds: {', '.join(f'{ratio:.2f}' for ratio in ratios)}), {of_work:.2f} of the CPU time",
            flush=True,
        )


if __name__ == "__main__":
    main()
