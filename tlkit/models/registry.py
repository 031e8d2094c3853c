"""Finds an architecture by name, checks what is asked of it and builds it. Imports nothing heavy by itself.

`table.py` lists the architectures; a family's file is imported when a model of it is built. A family with published
weights has `ORIGINS` beside its builder (see `origins.py`).
"""

import inspect
from typing import TYPE_CHECKING, Any

from tlkit.errors import OptionError, UnknownNameError, did_you_mean
from tlkit.models.architecture import Architecture, Head
from tlkit.models.table import ARCHITECTURES

if TYPE_CHECKING:
    import keras

WIDEST = 4
WIDEST_HEAD = 4096
_BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}


def find(name: str) -> Architecture:
    """Returns the architecture called `name`.

    Raises:
        UnknownNameError: there is none; the message names close ones.
    """
    if name not in _BY_NAME:
        raise UnknownNameError(
            f"There is no architecture called {name!r}.{did_you_mean(name, _BY_NAME)} List them all with: tlkit models"
            " (keras:NAME takes any constructor of keras.applications, PATH.keras a model of your own)"
        )
    return _BY_NAME[name]


def check_input_size(architecture: Architecture, head: Head, input_size: int) -> None:
    """Checks that an architecture can take an input size with a head.

    Raises:
        OptionError: it is too small, or the original head needs the original size.
    """
    name, original = architecture.name, architecture.input_size
    if head == "original" and architecture.foreign:
        raise OptionError(
            f"{name} is taken without its classifier, so it has no original head. Use --head gap: global average "
            "pooling, dropout and one layer."
        )
    if head == "original" and architecture.fully_connected and input_size != original:
        raise OptionError(
            f"{name} with its original head takes {original} pixels only, not {input_size}: "
            "its fully connected layers fit no other size. Leave --input-size out, or use --head gap."
        )
    if input_size < architecture.min_input_size:
        raise OptionError(
            f"{name} needs an input of at least {architecture.min_input_size} pixels, not {input_size}: "
            "its stages make the map ever smaller, and the last would see next to nothing of it. Use a larger "
            "--input-size."
        )


def check_width(architecture: Architecture, width: float) -> None:
    """Checks that an architecture takes a width multiplier.

    Raises:
        OptionError: it has none, or the multiplier is not in (0, 4].
    """
    if not architecture.width_multiplier:
        with_one = ", ".join(other.name for other in ARCHITECTURES if other.width_multiplier)
        raise OptionError(
            f"{architecture.name} has no width multiplier ({width:g} was given): its channels are those of its paper. "
            f"Leave --width out, or take one of {with_one}."
        )
    if not 0 < width <= WIDEST:
        raise OptionError(
            f"A width multiplier is more than 0 and at most {WIDEST}, not {width:g}. The paper's network has --width 1."
        )


def check_head_width(head: Head, head_width: int) -> None:
    """Checks that a head can have a hidden layer.

    Raises:
        OptionError: it is the paper's own head, or the width is out of range.
    """
    if not isinstance(head_width, int) or not 0 <= head_width <= WIDEST_HEAD:
        raise OptionError(f"--head-width must be a whole number from 0 to {WIDEST_HEAD}, not {head_width!r}.")
    if head_width and head != "gap":
        raise OptionError(
            f"--head-width {head_width} is for --head gap: the paper's own head has the layers of the paper. Leave "
            "--head original out, or --head-width."
        )


def build(
    name: str | Architecture,
    *,
    classes: int | None = None,
    input_size: int | None = None,
    head: Head = "original",
    head_width: int = 0,
    **options: Any,  # noqa: ANN401
) -> "keras.Model":
    """Builds an architecture with random weights.

    Args:
        name: One of `tlkit models`, or what `bases.find` returned.
        classes: Width of the final layer; the paper's when None.
        input_size: Side of the square input in pixels; the paper's when None.
        head: `original` or `gap` (global average pooling, dropout, one Dense).
        head_width: Units of a hidden layer with ReLU between the pooling and the dropout of `gap`; 0 for none.
        **options: More arguments of the family's builder, such as `dropout` or `width_multiplier`.

    Returns:
        A model from `[N, input_size, input_size, 3]` float32 RGB in [0, 255] to `[N, classes]` logits.

    Raises:
        UnknownNameError: no such architecture.
        OptionError: the input size does not fit, the builder has no such option, or the value of one is none.
    """
    architecture = find(name) if isinstance(name, str) else name
    classes = architecture.params_classes if classes is None else classes
    size = architecture.input_size if input_size is None else input_size
    for what, value in (("classes", classes), ("input_size", size)):
        if not isinstance(value, int) or value < 1:
            raise OptionError(f"{what} must be a whole number above 0, not {value!r}.")
    if head not in ("gap", "original"):
        raise OptionError(f"head is 'gap' or 'original', not {head!r}.{did_you_mean(str(head), ('gap', 'original'))}")
    check_input_size(architecture, head, size)
    check_head_width(head, head_width)
    if "width_multiplier" in options:
        check_width(architecture, options["width_multiplier"])
    builder = getattr(architecture.module, architecture.builder)
    known = [option for option in inspect.signature(builder).parameters if option not in architecture.options]
    if unknown := [option for option in options if option not in known and option not in architecture.options]:
        raise OptionError(
            f"{architecture.name} has no option {unknown[0]!r}.{did_you_mean(unknown[0], known)} "
            f"It has: {', '.join(known)}."
        )
    try:
        model = builder(classes=classes, input_size=size, head=head, **{**architecture.options, **options})
    except ValueError as err:  # what Keras says to a value that is none of its own
        reason = str(err).strip().partition("\n")[0]
        chosen = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "these options"
        raise OptionError(f"{architecture.name} can't be built with {chosen}: {reason}") from err
    if not head_width:
        return model
    from tlkit.models import blocks

    return blocks.with_hidden_layer(model, head_width)
