"""A search of 30 trials against one untuned training of the head, process start included, as a ratio.

    python benchmarks/tune_time.py ../shared/data/ants_bees ../shared/weights/mobilenet_v2_1.0_224_imagenet.weights.h5

Interleaved; every round prints both sides and how many times as long the search took. Each process begins with an empty
feature cache (`--warm` fills it before), so both pass the photos through the network once.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time


def seconds(command: list[str], cache: str) -> float:
    env = {**os.environ, "TLKIT_CACHE": cache, "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    plain = [sys.executable, "-m", "tlkit", "finetune", "--base", "mobilenet_v2", "--freeze", "all-but-head"]
    plain += ["--data", options.data, "--weights", options.weights]
    ratios = []
    print(f"round   untuned  --tune {options.trials}  ratio")
    for number in range(1, options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            plain_cache, tuned_cache = (f"{folder}/warm",) * 2 if options.warm else (f"{folder}/a", f"{folder}/b")
            place = ["--runs", f"{folder}/runs"]
            if options.warm:
                seconds([*plain, *place], plain_cache)
            untuned = seconds([*plain, *place], plain_cache)
            tuned = seconds([*plain, *place, "--tune", str(options.trials)], tuned_cache)
        ratios.append(tuned / untuned)
        print(f"{number:<5} {untuned:>7.1f} s {tuned:>7.1f} s  {tuned / untuned:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}   (all: {', '.join(f'{ratio:.2f}' for ratio in ratios)})")


if __name__ == "__main__":
    main()
