"""What `--freeze auto` reaches on real photos, against the strategies that it could have chosen.

    python benchmarks/auto.py SHARED [--what signs ants few]

SHARED holds data/sign_digits, data/ants_bees and the weights of MobileNetV2. `signs`: test accuracy on sign_digits at
96, nothing given but `--freeze auto`, seeds 0 to 2. `ants`: ants_bees at 224, seeds 0 to 4. `few`: 100 photos of
sign_digits, 10 a class, drawn five times from its training photos, and tested on its test photos: auto, the head alone,
full fine-tuning, full fine-tuning for as many epochs as auto thaws, and training from random weights.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FEW = {
    "auto": ["--freeze", "auto"],
    "all-but-head": ["--freeze", "all-but-head"],
    "none": ["--freeze", "none"],
    "none, 40 epochs": ["--freeze", "none", "--epochs", "40", "--patience", "0"],
    "random weights": ["--freeze", "none", "--weights", "none"],
}


def finetune(shared: Path, data: Path, runs: Path, *flags: str) -> tuple[dict, float]:
    weights = shared / "weights" / "mobilenet_v2_1.0_224_imagenet.weights.h5"
    command = [sys.executable, "-m", "tlkit", "finetune", "--base", "mobilenet_v2", "--data", str(data), "--json"]
    command += ["--runs", str(runs)] + ([] if "--weights" in flags else ["--weights", str(weights)]) + list(flags)
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout), time.perf_counter() - started


def seeds(shared: Path, name: str, size: str, count: int) -> None:
    found = []
    for seed in range(count):
        with tempfile.TemporaryDirectory() as runs:
            flags = ["--freeze", "auto", "--input-size", size, "--seed", str(seed)]
            run, seconds = finetune(shared, shared / "data" / name, Path(runs), *flags)
        found.append(run["metrics"]["test"]["accuracy"])
        chosen, val = run["freeze"]["chosen"]["strategy"], run["metrics"]["val"]["accuracy"]
        print(f"{name} seed {seed}: test {found[-1]:.4f}, val {val:.4f}, {chosen}, {seconds:.0f} s", flush=True)
    print(f"{name}: mean {statistics.mean(found):.4f}, worst {min(found):.4f}", flush=True)


def draw(shared: Path, number: int, folder: Path) -> Path:
    """Copies 10 training photos of each class, and all test photos."""
    source, random = shared / "data" / "sign_digits", np.random.default_rng(number)
    for one in sorted((source / "train").iterdir()):
        files = sorted(one.iterdir())
        (folder / "train" / one.name).mkdir(parents=True)
        for index in random.permutation(len(files))[:10]:
            shutil.copy(files[index], folder / "train" / one.name)
    shutil.copytree(source / "test", folder / "test")
    return folder


def few(shared: Path) -> None:
    found: dict[str, list[float]] = {name: [] for name in FEW}
    for number in range(5):
        with tempfile.TemporaryDirectory() as folder:
            data = draw(shared, number, Path(folder) / "data")
            for name, flags in FEW.items():
                run, seconds = finetune(
                    shared, data, Path(folder) / "runs", *flags, "--input-size", "96", "--seed", str(number)
                )
                found[name].append(run["metrics"]["test"]["accuracy"])
                print(f"draw {number}, {name}: test {found[name][-1]:.4f}, {seconds:.0f} s", flush=True)
    for name, values in found.items():
        print(f"100 photos, {name}: mean {statistics.mean(values):.4f}, worst {min(values):.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--what", nargs="+", choices=["signs", "ants", "few"], default=["ants", "few", "signs"])
    options = parser.parse_args()
    shared = options.shared.resolve()
    if "ants" in options.what:
        seeds(shared, "ants_bees", "224", 5)
    if "few" in options.what:
        few(shared)
    if "signs" in options.what:
        seeds(shared, "sign_digits", "96", 3)


if __name__ == "__main__":
    main()
