"""Few photos: a folder in, a proven file for the device out, with what suits the number of photos.

    from recipes import small_data
    result = small_data.run("photos/")

or `python -m recipes.small_data photos/`; `small_data.ipynb` beside it is the same for Colab. Without photos of your
own it takes the embedded digits.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tlkit
from tlkit.progress import Progress, Screen

if TYPE_CHECKING:
    from tlkit.evaluate import Evaluation


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was made: the run, how good it is on photos it has not seen, and the artifact's entry of its manifest."""

    run: tlkit.Run
    evaluation: "Evaluation"
    artifact: dict[str, Any]


def run(
    data: str | Path = "digits",
    *,
    base: str = "mobilenet_v2",
    epochs: int | None = None,
    precision: str = "int8",
    runs: str | Path = "runs",
    progress: Progress | None = None,
) -> Result:
    """Trains what the photos can teach, evaluates, exports with proof.

    How much of the network is trained is chosen from the number of photos and from what a classifier makes of the
    frozen features (`freeze="auto"`).

    Args:
        data: Folder with one folder of photos per class, or `digits`.
        base: With pretrained weights, such as `mobilenet_v2` or `resnet50`; one without is trained whole.
        epochs: At most; what suits the strategy when None.
        precision: Of the TFLite file.
        runs: Where the run folder is made.
        progress: Shows what happens; in a notebook, shown by itself.

    Raises:
        TlkitError: bad input of any kind.
    """
    trained = tlkit.finetune(data, base=base, freeze="auto", epochs=epochs, runs=runs, progress=progress)
    evaluation = trained.evaluate(progress=progress)
    return Result(
        run=trained,
        evaluation=evaluation,
        artifact=trained.export("tflite", precision=precision, progress=progress),
    )


def main() -> None:
    """Runs it on the screen."""
    from tlkit.cli.quiet import quiet_native_libraries

    quiet_native_libraries()
    result = run(*sys.argv[1:2], progress=Screen())
    freeze = result.run.manifest["freeze"]
    chosen = freeze["chosen"] or {"strategy": freeze["strategy"], "why": "as given"}
    print(f"Trained            {chosen['strategy']}: {chosen['why']}")
    print(f"Accuracy           {result.evaluation.accuracy:.1%}")
    parity = result.artifact["parity"]
    print(f"TFLite             {result.artifact['bytes'] / 1000:.0f} kB, agrees on {parity['top1_agreement']:.1%}")
    print(f"Run                {result.run.folder}")


if __name__ == "__main__":
    main()
