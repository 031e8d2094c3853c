"""Imports that wait: optional dependencies until they are used, Keras until the input is known to be good."""

import gc
import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tlkit.errors import MissingDependencyError

# Set by the command line: this process is ours, so nobody else needs what an import of Keras may leave out.
own_process = False


def require(module: str, *, extra: str) -> ModuleType:
    """Imports `module`, which the extra `tlkit[extra]` installs.

    Raises:
        MissingDependencyError: it is not installed. A module that is there but broken raises its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as err:
        if err.name is None or err.name.partition(".")[0] != module.partition(".")[0]:
            raise  # installed, but something that it needs is not: show the real traceback
        raise MissingDependencyError(
            f"{module} is not installed, and this needs it. Install it with: pip install 'tlkit[{extra}]'"
        ) from err


def keras_backend() -> str:
    """Returns the backend that Keras runs on, or will run on once it is imported; importing nothing."""
    if keras := sys.modules.get("keras"):
        return str(keras.config.backend())
    if given := os.environ.get("KERAS_BACKEND"):
        return given
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((home / "keras.json").read_text()).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


@contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keeps Keras on another backend from importing TensorFlow. Also a decorator.

    Wherever TensorFlow is installed, Keras imports it to see whether what it saves is an object of TensorFlow's, and to
    set its seed: six seconds and 300 MB for nothing.
    """
    if keras_backend() == "tensorflow" or "tensorflow" in sys.modules:
        yield
        return
    lazy = importlib.import_module("keras.src.utils.module_utils").tensorflow
    before, lazy._available = lazy._available, False
    try:
        yield
    finally:
        lazy._available = before


def import_keras() -> None:
    """Imports Keras and its backend a quarter faster than a plain import.

    The garbage collector rests meanwhile: it would walk a growing heap of which nothing is garbage. In a process of our
    own, Keras is also told that scikit-learn is not there: it imports it, and SciPy with it, only for wrappers that
    tlkit does not use.
    """
    if "keras" in sys.modules:
        return
    hide = own_process and "sklearn" not in sys.modules
    enabled = gc.isenabled()
    gc.disable()
    if hide:
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        if (backend := keras_backend()) != "tensorflow":
            require(backend, extra=backend)
        importlib.import_module("keras")
    finally:
        if hide:
            del sys.modules["sklearn"]
        if enabled:
            gc.enable()
    if own_process:
        gc.freeze()
