"""What `--base` takes: a name of the table, `keras:NAME` or `PATH.keras`. Keras is imported for the last two alone."""

import os

from tlkit.errors import OptionError, did_you_mean
from tlkit.lazy import import_keras
from tlkit.models import registry
from tlkit.models.architecture import Architecture
from tlkit.models.origins import CENTRED, STANDARDIZED, SYMMETRIC, UNIT, Normalization

PREFIX = "keras:"
# What a user's own model may take, and how RGB in [0, 255] becomes that; `caffe` takes blue first, too.
BASE_INPUTS: dict[str, Normalization] = {
    "0..255": (1.0, 0.0),
    "0..1": UNIT,
    "-1..1": SYMMETRIC,
    "torch": STANDARDIZED,
    "caffe": CENTRED,
}
BGR = "caffe"
_FILES = (".keras", ".h5", ".hdf5", ".tflite", ".pb", ".onnx", ".pt", ".pth")


def is_path(base: str) -> bool:
    """Whether `--base` names a file rather than an architecture."""
    return not base.startswith(PREFIX) and (base.endswith(_FILES) or "/" in base or os.sep in base)


def is_foreign(base: str) -> bool:
    """Whether `--base` is no name of the table: a constructor of keras.applications, or a file."""
    return base.startswith(PREFIX) or is_path(base)


def find(
    base: str, *, input_size: int | None = None, smallest: bool = False, base_input: str | None = None
) -> Architecture:
    """Returns the architecture that a base is.

    Args:
        base: A name of `tlkit models`, `keras:NAME` (a constructor of keras.applications), or a `.keras` file.
        input_size: Side in pixels at which stages are looked for; the base's own when None.
        smallest: Whether None means the smallest that a constructor takes instead.
        base_input: For a file, what its input takes: a key of `BASE_INPUTS`.

    Raises:
        UnknownNameError: there is no such architecture, or constructor.
        OptionError: it can't take that input size, or it is not known what a file's input takes.
        BaseError: the file can't be read, or is no classifier of images that a head can be put on.
    """
    if base_input is not None and base_input not in BASE_INPUTS:
        raise OptionError(
            f"--base-input takes {', '.join(BASE_INPUTS)}, not {base_input!r}.{did_you_mean(base_input, BASE_INPUTS)}"
        )
    if base_input is not None and not is_path(base):
        raise OptionError(f"--base-input is for a --base PATH.keras: what {base} takes is known. Leave it out.")
    if not is_foreign(base):
        return registry.find(base)
    import_keras()
    from tlkit.models import foreign

    if is_path(base):
        return foreign.of_file(base, input_size=input_size, base_input=base_input)
    return foreign.of_keras(base, input_size=input_size, smallest=smallest)
