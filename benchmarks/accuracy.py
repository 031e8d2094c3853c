"""What transfer reaches on real photos, and what int8 keeps of it.

    python benchmarks/accuracy.py SHARED

SHARED holds data/{sign_digits,ants_bees}/{train,test}/<class>/*.jpg and the weights of MobileNetV2 (see below). For
each data set and seed: `tlkit finetune` as a user would run it, 10 epochs, head only; then `tlkit export` to float32
and int8. Prints a row each and the means.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def tlkit(*args: object) -> dict | None:
    """Runs a command; None where an artifact falls short of its limit, which is printed."""
    command = [sys.executable, "-m", "tlkit", *map(str, args), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 3:
        print(f"  {done.stderr.splitlines()[-1]}")
        return None
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    weights = options.shared / "weights" / "mobilenet_v2_1.0_224_imagenet.weights.h5"
    print("data         seed  val     test    float32 diff  int8 agreement  int8 accuracy  int8/float32 bytes")
    for name, size in (("sign_digits", 96), ("ants_bees", 224)):
        tests = []
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as runs:
                data = options.shared / "data" / name
                flags = ["--base", "mobilenet_v2", "--weights", weights, "--data", data, "--input-size", size]
                flags += ["--epochs", options.epochs, "--freeze", "all-but-head", "--seed", seed, "--runs", runs]
                run = tlkit("finetune", *flags)
                exact = tlkit("export", "--to", "tflite", "--precision", "float32", "--runs", runs)
                int8 = tlkit("export", "--to", "tflite", "--precision", "int8", "--runs", runs)
            accuracy = {split: part["accuracy"] for split, part in run["metrics"].items()}
            tests.append(accuracy["test"])
            row = f"{name:<12} {seed:<5} {accuracy['val']:.4f}  {accuracy['test']:.4f}  "
            if exact:
                row += f"{exact['parity']['max_probability_difference']:<12.2g}  "
            if exact and int8:
                row += f"{int8['parity']['top1_agreement']:<14.4f}  {int8['parity']['accuracy']:<13.4f}  "
                row += f"{int8['bytes'] / exact['bytes']:.4f}"
            print(row, flush=True)
        print(f"{name:<12} mean          {sum(tests) / len(tests):.4f}", flush=True)


if __name__ == "__main__":
    main()
