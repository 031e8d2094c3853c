"""From process start to the end of the first training step: MobileNetV2, all layers trainable, against plain Keras.

    python benchmarks/startup.py ../shared/data/sign_digits ../shared/weights/mobilenet_v2_1.0_224_imagenet.weights.h5

Interleaved; every round prints both sides, and tlkit's share of Keras' time. tlkit's side is what `tlkit finetune
--freeze none` does, with the photos checked, hashed and split; Keras' side lists a folder.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
# As the command line, but it ends with the first step.
OURS = """
import os, sys
from contextlib import contextmanager
from tlkit import lazy
from tlkit.cli.quiet import quiet_native_libraries
lazy.own_process = True
quiet_native_libraries()
from tlkit.progress import Bar, Progress

class FirstStep(Progress):
    @contextmanager
    def bar(self, title, total, unit="images"):
        bar = Bar(total)
        if title == "Training":
            bar.advance = lambda *a, **k: os._exit(0)
        yield bar

from pathlib import Path
from tlkit.transfer.finetune import finetune
from tlkit.transfer.options import FinetuneOptions
data, weights, size, runs = sys.argv[1:]
options = FinetuneOptions(
    base="mobilenet_v2", data=data, weights=weights, freeze="none", input_size=int(size), epochs=1, runs=Path(runs)
)
finetune(options, FirstStep())
"""


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--input-size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = str(options.input_size)
    keras = [
        sys.executable,
        str(HERE / "keras_startup.py"),
        options.data,
        options.weights,
        "--input-size",
        size,
    ]
    shares = []
    print("round      Keras     tlkit  share")
    for number in range(1, options.rounds + 1):
        theirs = seconds(keras)
        with tempfile.TemporaryDirectory() as runs:
            ours = seconds([sys.executable, "-c", OURS, options.data, options.weights, size, runs])
        shares.append(ours / theirs)
        print(f"{number:<6} {theirs:>7.1f} s {ours:>7.1f} s  {ours / theirs:.2f}", flush=True)
    print(f"median share {statistics.median(shares):.2f}   (all: {', '.join(f'{share:.2f}' for share in shares)})")


if __name__ == "__main__":
    main()
