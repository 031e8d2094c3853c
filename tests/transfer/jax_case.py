"""Training from arrays on JAX: `KERAS_BACKEND=jax python -m tests.transfer.jax_case RUNS [WEIGHTS]`."""

import sys

import numpy as np

import tlkit
from tlkit.progress import Progress

from ..conftest import coloured

Y = [0, 1, 2] * 20
X = np.stack([np.asarray(coloured(label, i)) for i, label in enumerate(Y)])
# Dropout, averages of the weights, photos mixed in pairs, labels smoothed. A last batch that is smaller.
ALL = {
    "base": "lenet5",
    "weights": "none",
    "head": "gap",
    "dropout": 0.4,
    "epochs": 3,
    "batch_size": 16,
    "ema": 0.9,
    "mix": "mixup",
    "label_smoothing": 0.1,
    "seed": 3,
}
HEAD = {"base": "lenet5", "freeze": "all-but-head", "epochs": 4, "batch_size": 16, "seed": 3}


class Told(Progress):
    """Keeps what is said."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, text):
        self.lines.append(text)


class Killed(BaseException):
    """Stands for SIGKILL."""


def killed_after(steps, **options):
    """Trains a run that is killed after some steps, with a checkpoint of each."""
    from tlkit.transfer import loop

    real, done = loop.Training._save, []

    def save(self, progress, *, force):
        real(self, progress, force=True)
        done.append(1)
        if len(done) == steps:
            raise Killed

    loop.Training._save = save
    try:
        tlkit.finetune(**options)
    except Killed:
        return
    finally:
        loop.Training._save = real
    raise AssertionError(f"the training ended before its step {steps}")


def main(runs, weights):
    """Trains everything, trains it again with a kill between, then a head on the features of given weights."""
    whole = tlkit.finetune(x=X, y=Y, classes=["a", "b", "c"], runs=runs, name="whole", **ALL)
    killed_after(5, x=X, y=Y, classes=["a", "b", "c"], runs=runs, name="killed", **ALL)
    resumed = tlkit.resume("killed", runs, x=X)
    for one, two in zip(weights_of(whole), weights_of(resumed), strict=True):
        assert np.array_equal(one, two)
    assert whole.manifest["metrics"] == resumed.manifest["metrics"]
    assert whole.evaluate().accuracy == whole.manifest["metrics"]["test"]["accuracy"]
    assert whole.predict(next(whole.folder.glob("verification/a/*.png")))[0].top[0][0] in "abc"
    told = Told()
    tlkit.finetune(x=X, y=Y, runs=runs, name="head", weights=weights, progress=told, **HEAD)
    tlkit.finetune(x=X, y=Y, runs=runs, name="again", weights=weights, progress=told, **HEAD)
    assert any("is reused from the cache" in line for line in told.lines)
    try:
        whole.export("tflite")
    except tlkit.errors.OptionError as err:
        sys.stdout.write(f"{err}\n")
    assert "tensorflow" not in sys.modules, "training from arrays on JAX needs no TensorFlow"


def weights_of(run):
    return run.model.get_weights()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
