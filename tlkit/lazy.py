"""Imports that wait: optional dependencies until they are used, Keras until the input is known to be good."""

import gc
import importlib
import sys
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


def import_keras() -> None:
    """Imports Keras and TensorFlow a quarter faster than a plain import.

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
        importlib.import_module("keras")
    finally:
        if hide:
            del sys.modules["sklearn"]
        if enabled:
            gc.enable()
    if own_process:
        gc.freeze()
