"""What the backend of Keras means for a training, known before Keras is imported."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from tlkit.errors import OptionError
from tlkit.lazy import keras_backend
from tlkit.transfer.options import FinetuneOptions

BACKENDS = ("tensorflow", "jax")  # each with a training step of its own, `step_<backend>`


def check_backend(options: FinetuneOptions) -> None:
    """Checks that the backend can do what is asked for.

    Raises:
        OptionError: it can't train at all, or not with augmentation or several labels.
    """
    backend = keras_backend()
    if backend not in BACKENDS:
        raise OptionError(
            f"Training does not run on Keras' backend {backend!r}. Set KERAS_BACKEND to {' or '.join(BACKENDS)}."
        )
    if backend != "tensorflow" and options.multi_label:
        raise OptionError(
            f"--multi-label needs the TensorFlow backend, and Keras takes {backend!r}. Unset KERAS_BACKEND."
        )
    if not can_augment() and options.augment not in (None, "none"):
        raise OptionError(
            f"--augment {options.augment} needs the TensorFlow backend, and Keras takes {backend!r}. Leave --augment "
            "out, or unset KERAS_BACKEND."
        )


def check_same_backend(folder: Path, manifest: dict[str, Any]) -> None:
    """Checks that a run goes on where it was begun: another backend draws other random numbers.

    Raises:
        OptionError: it does not.
    """
    before, now = manifest["versions"].get("backend", "tensorflow"), keras_backend()
    if before != now:
        raise OptionError(
            f"{folder} was begun with Keras' backend {before!r}, and this process takes {now!r}. Set "
            f"KERAS_BACKEND={before} to go on with it, or leave --resume out to begin anew."
        )


def can_augment() -> bool:
    """Whether views of photos can be made: their operations are TensorFlow's."""
    return keras_backend() == "tensorflow"


def versions() -> dict[str, str]:
    """Returns the versions that training depends on, and which backend it ran on, for the manifest."""
    backend = keras_backend()
    return {
        "backend": backend,
        **{name: version(name) for name in (backend, "keras", "numpy", "pillow")},
    }
