"""How long `tlkit predict` takes on one photo with a .tflite file: the minimum of ten, in seconds.

python benchmarks/predict_time.py [FILE.tflite PHOTO]

Without arguments it trains LeNet-5 on the digits, exports it, and takes one of them.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

TLKIT = str(Path(sys.executable).with_name("tlkit"))


def seconds(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def prepare(folder: Path) -> tuple[str, str]:
    from tlkit.data.digits import digits_folder

    for command in (["finetune", "--base", "lenet5", "--epochs", "2", "--name", "lenet"], ["export", "--to", "tflite"]):
        subprocess.run([TLKIT, *command], cwd=folder, check=True, capture_output=True)
    photo = sorted((digits_folder() / "3").iterdir())[0]
    return str(folder / "runs" / "lenet" / "artifacts" / "model.float32.tflite"), str(photo)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model, photo = sys.argv[1:3] if len(sys.argv) > 2 else prepare(Path(folder))
        for what, command in {
            "python -c pass": (sys.executable, "-c", "pass"),
            "import numpy, PIL": (sys.executable, "-c", "import numpy, PIL.Image"),
            "tlkit predict": (TLKIT, "predict", "--model", model, photo),
        }.items():
            print(f"{what:<17} {min(seconds(*command) for _ in range(10)):.3f} s")


if __name__ == "__main__":
    main()
