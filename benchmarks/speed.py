"""Whole commands against the tutorial that everybody copies, interleaved, as ratios.

    python benchmarks/speed.py DATA WEIGHTS

DATA holds train/<class>/* and test/<class>/*, WEIGHTS is a file for keras.applications.MobileNetV2. Both sides start a
new process, train the head of a frozen MobileNetV2 at 224 for the same epochs without augmentation and without stopping
early, evaluate on the test photos and save the model. Each round starts with an empty feature cache; `second run` is
`tlkit finetune` once more with another learning rate. Prints seconds and ratios of each round, and their medians.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def seconds(command: list[str], **env: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tutorial = [sys.executable, str(HERE / "keras_tutorial.py"), options.data, options.weights]
    ratios: dict[str, list[float]] = {}
    print("round  what                    tutorial     tlkit  ratio")

    def show(number: int, what: str, theirs: float, ours: float) -> None:
        ratios.setdefault(what, []).append(theirs / ours)
        print(f"{number:<6} {what:<22} {theirs:>8.1f} s {ours:>7.1f} s  {theirs / ours:.2f}", flush=True)

    for number in range(1, options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            cache = {"TLKIT_CACHE": f"{folder}/cache"}
            base = [sys.executable, "-m", "tlkit", "finetune", "--base", "mobilenet_v2", "--freeze", "all-but-head"]
            base += [
                "--weights",
                options.weights,
                "--data",
                options.data,
                "--patience",
                "0",
                "--runs",
                f"{folder}/runs",
            ]
            for epochs in (10, 30):
                shutil.rmtree(cache["TLKIT_CACHE"], ignore_errors=True)
                theirs = seconds([*tutorial, "--epochs", str(epochs), "--save", f"{folder}/tutorial.keras"])
                ours = seconds([*base, "--epochs", str(epochs)], **cache)
                show(number, f"{epochs} epochs", theirs, ours)
            again = seconds([*base, "--epochs", "30", "--learning-rate", "0.001"], **cache)
            show(number, "second run, 30 epochs", theirs, again)
    for what, values in ratios.items():
        print(f"median {what:<22} {statistics.median(values):.2f}   (all: {', '.join(f'{v:.2f}' for v in values)})")


if __name__ == "__main__":
    main()
