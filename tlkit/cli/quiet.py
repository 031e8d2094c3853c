"""Keeps TensorFlow's and LiteRT's chatter off the screen. `TLKIT_DEBUG=1` lets it through."""

import io
import os
import sys
import warnings


def quiet_native_libraries() -> None:
    """Sends what native code writes to file descriptor 2 to nowhere; what Python writes to stderr stays.

    The libraries log before any setting of theirs can be made, and some have no setting. Call it before they are
    imported.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if os.environ.get("TLKIT_DEBUG"):
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ABSL_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    try:
        ours = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    except OSError:
        return  # stderr is closed: there is nothing to keep clean
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold bytes that are no text
    sys.stderr = os.fdopen(ours, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
