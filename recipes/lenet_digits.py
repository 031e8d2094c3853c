"""The demo: LeNet-5 on 1,797 handwritten digits, exported to int8 and used on photos it has never seen.

    from recipes import lenet_digits
    lenet_digits.run()

or `python -m recipes.lenet_digits`. Needs no data and no network, and takes under a minute.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tlkit
from tlkit.progress import Progress, Screen


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the demo made: the run, the int8 artifact's entry of its manifest, and predictions on test photos."""

    run: tlkit.Run
    artifact: dict[str, Any]
    predictions: list[Any]


def run(*, epochs: int | None = None, runs: str | Path = "runs", progress: Progress | None = None) -> Result:
    """Trains, exports with proof, predicts.

    Args:
        epochs: At most; the default of `finetune` when None.
        runs: Where the run folder is made.
        progress: Shows what happens; silent when None.
    """
    trained = tlkit.finetune("digits", base="lenet5", epochs=epochs, runs=runs, progress=progress)
    artifact = trained.export("tflite", precision="int8", progress=progress)
    manifest = trained.manifest
    photos = [Path(manifest["data"]["root"]) / photo["path"] for photo in manifest["split"]["test"][::60]]
    return Result(run=trained, artifact=artifact, predictions=trained.predict(photos, top=1, progress=progress))


def main() -> None:
    """Runs the demo on the screen."""
    from tlkit.cli.quiet import quiet_native_libraries

    quiet_native_libraries()
    result = run(progress=Screen())
    test, parity = result.run.manifest["metrics"]["test"], result.artifact["parity"]
    print(f"Test accuracy      {test['accuracy']:.1%} of {test['images']} photos")
    print(f"int8 TFLite        {result.artifact['bytes'] / 1000:.0f} kB, agrees on {parity['top1_agreement']:.1%}")
    for prediction in result.predictions:
        ((name, probability),) = prediction.top
        truth = Path(prediction.path).parent.name
        print(f"A photo of a {truth}     {name} ({probability:.1%})")
    print(f"Run                {result.run.folder}")


if __name__ == "__main__":
    main()
