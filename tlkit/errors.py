"""What a user can get wrong, and the words for it.

A `TlkitError` is shown as its message alone, without a traceback; anything else is a bug of tlkit's. Every message says
what is wrong, what was given and what to do.
"""

import difflib
from collections.abc import Iterable


class TlkitError(Exception):
    """Something the user can put right. `exit_code` is what the command line ends with."""

    exit_code = 1


class DataError(TlkitError):
    """The photos, or the folder that holds them, can't be used as they are."""


class ImageError(DataError):
    """One image file can't be used. The message is the reason alone; the caller names the file."""


class UnknownNameError(TlkitError):
    """A name (of an architecture, a stage, a class) that does not exist."""


class WeightsError(TlkitError):
    """Pretrained weights are missing, or don't fit the architecture."""


class BaseError(TlkitError):
    """A model of the user's own can't be a base."""


class RunError(TlkitError):
    """A run folder is missing, broken, unfinished or written by a newer tlkit."""


class CheckpointError(RunError):
    """A checkpoint can't be gone on from: it is broken, or of another model."""


class OptionError(TlkitError):
    """Options that don't go together, or a value outside its range."""

    exit_code = 2


class DivergedError(OptionError):
    """The training loss is not a number any more: going on would not help."""


class MissingDependencyError(TlkitError):
    """An optional dependency is not installed."""


class ParityError(TlkitError):
    """An exported file does not do what the Keras model does, within the limit of its precision."""

    exit_code = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `" Did you mean resnet50?"` (with the leading space), or an empty string when nothing is close."""
    close = difflib.get_close_matches(name.lower(), list(known), n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def some(names: Iterable[str], most: int = 5) -> str:
    """Lists the first few of many names: `a, b, c and 17 more`."""
    names = list(names)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
