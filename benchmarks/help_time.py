"""How long the commands take that import no Keras, and what `tlkit summary` adds to its import: minima, in seconds.

python benchmarks/help_time.py
"""

import subprocess
import sys
import time
from pathlib import Path

IMPORT = "from tlkit import lazy; lazy.own_process = True; lazy.import_keras()"


def seconds(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    tlkit = str(Path(sys.executable).with_name("tlkit"))
    for what, (times, command) in {
        "python -c pass": (10, (sys.executable, "-c", "pass")),
        "tlkit --help": (10, (tlkit, "--help")),
        "tlkit models": (10, (tlkit, "models")),
        "tlkit summary --compare all": (10, (tlkit, "summary", "--compare", "all")),
        "import of Keras, as tlkit does it": (3, (sys.executable, "-c", IMPORT)),
        "tlkit summary vgg19": (3, (tlkit, "summary", "vgg19")),
    }.items():
        print(f"{what:<33} {min(seconds(*command) for _ in range(times)):.3f} s")


if __name__ == "__main__":
    main()
