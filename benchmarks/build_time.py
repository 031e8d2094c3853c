"""How long building a model takes here and in keras.applications, interleaved, with random weights and the top.

    python benchmarks/build_time.py --rounds 5

Prints for each architecture the median seconds of both sides and the median of the rounds' ratios (below 1: faster
here). The sides take turns at going first; the models are dropped before the next is built.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable

import keras

from tlkit.models import registry

PAIRS = {
    "vgg16": keras.applications.VGG16,
    "vgg19": keras.applications.VGG19,
    "resnet50": keras.applications.ResNet50,
    "resnet101": keras.applications.ResNet101,
    "resnet152": keras.applications.ResNet152,
    "inception_v3": keras.applications.InceptionV3,
    "mobilenet_v1": keras.applications.MobileNet,
    "mobilenet_v2": keras.applications.MobileNetV2,
    "mobilenet_v3_large": keras.applications.MobileNetV3Large,
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
}


def seconds(build: Callable[[], object]) -> float:
    keras.backend.clear_session()
    gc.collect()
    started = time.perf_counter()
    model = build()
    took = time.perf_counter() - started
    del model
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=PAIRS)
    options = parser.parse_args()
    for name, constructor in PAIRS.items():
        if options.only not in (None, name):
            continue
        sides = {"ours": lambda name=name: registry.build(name), "theirs": lambda c=constructor: c(weights=None)}
        for build in sides.values():
            build()  # what is made once, at first use
        found: dict[str, list[float]] = {"ours": [], "theirs": []}
        for turn in range(options.rounds):
            for side in list(sides) if turn % 2 else reversed(sides):
                found[side].append(seconds(sides[side]))
        ratio = statistics.median(a / b for a, b in zip(found["ours"], found["theirs"], strict=True))
        ours, theirs = (statistics.median(found[side]) for side in ("ours", "theirs"))
        print(f"{name:<20} {ours:7.3f} s here  {theirs:7.3f} s keras.applications  ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
