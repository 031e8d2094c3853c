"""How long `tlkit --help` takes: the minimum of ten, in seconds, beside `python -c pass`.

python benchmarks/help_time.py
"""

import subprocess
import sys
import time
from pathlib import Path


def seconds(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    tlkit = str(Path(sys.executable).with_name("tlkit"))
    for what, command in {
        "python -c pass": (sys.executable, "-c", "pass"),
        "tlkit --help": (tlkit, "--help"),
        "tlkit models": (tlkit, "models"),
    }.items():
        print(f"{what:<16} {min(seconds(*command) for _ in range(10)):.3f} s")


if __name__ == "__main__":
    main()
