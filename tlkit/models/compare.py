"""Architectures side by side: from the registry's figures, or counted anew for another input size or width.

Imports nothing heavy unless something has to be counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tlkit.errors import OptionError, some
from tlkit.models import bases, registry
from tlkit.models.architecture import Accuracy, Architecture, Head

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is compared of an architecture.

    Attributes:
        architecture: Which one it is.
        input_size: Side of the square input, in pixels.
        classes: Width of the final layer.
        depth: Convolutions and fully connected layers on the longest way through.
        parameters: All of them, statistics of batch normalization included.
        macs: Multiply-accumulates for one image.
        accuracy: As published for just this network and input size; where the lectures' source states no top-1, that
            of the weights offered, if they have one. None where nothing is published.
    """

    architecture: Architecture
    input_size: int
    classes: int
    depth: int | None
    parameters: int
    macs: int | None
    accuracy: Accuracy | None

    @property
    def float32_bytes(self) -> int:
        """Bytes of the parameters at four each."""
        return 4 * self.parameters

    @property
    def int8_bytes(self) -> int:
        """Bytes of the parameters at one each."""
        return self.parameters


def figures(architecture: Architecture) -> Figures:
    """Returns an architecture's figures as the registry has them, without building it."""
    known = [one for one in (architecture.accuracy, architecture.published_accuracy) if one]
    return Figures(
        architecture=architecture,
        input_size=architecture.input_size,
        classes=architecture.params_classes,
        depth=architecture.depth,
        parameters=architecture.params,
        macs=architecture.macs,
        accuracy=next((one for one in known if one.top1 is not None), known[0] if known else None),
    )


def choose(names: Sequence[str], input_size: int | None = None) -> list[Architecture]:
    """Returns architectures by name, each once; `all` is every one of the table. Bases of others are looked into.

    Raises:
        UnknownNameError: no such architecture.
        OptionError: fewer than two names.
        BaseError: a file can't be read, or is no classifier of images.
    """
    names = [architecture.name for architecture in registry.ARCHITECTURES] if ALL in names else list(names)
    if len(set(names)) < 2:
        raise OptionError("--compare takes two architectures or more, or `all`. List them with: tlkit models")
    for name in names:
        if not bases.is_foreign(name):
            registry.find(name)  # before Keras is imported for another
    return [of_any(name, input_size) for name in dict.fromkeys(names)]


def of_any(name: str, input_size: int | None = None) -> Architecture:
    """Returns what `bases.find` does; what a file's input takes is no matter for what is counted."""
    return bases.find(
        name, input_size=input_size, base_input=next(iter(bases.BASE_INPUTS)) if bases.is_path(name) else None
    )


def compare(
    names: Sequence[str],
    *,
    classes: int | None = None,
    input_size: int | None = None,
    width: float | None = None,
    head: Head | None = None,
) -> list[Figures]:
    """Returns the figures of several architectures, in the order of the names; `all` is every one.

    Args:
        names: Of `tlkit models`; `keras:NAME` and `PATH.keras` too.
        classes: Width of the final layer; None is the paper's.
        input_size: Side of the input in pixels; None is each one's own.
        width: Multiplier of the channels, for those that have one; None is 1.
        head: The paper's, or `gap` as for transfer; None is the paper's where there is one.

    Raises:
        UnknownNameError: no such architecture.
        OptionError: fewer than two names, or an option does not fit one of them.
        BaseError: a file can't be read, or is no classifier of images.
    """
    chosen = choose(names, input_size)
    _check(chosen, input_size, width, head)
    usual = classes is input_size is width is None and head in (None, "original")
    return [
        figures(one) if usual and not one.foreign else _counted(one, classes, input_size, width, head_of(one, head))
        for one in chosen
    ]


def _check(chosen: Sequence[Architecture], input_size: int | None, width: float | None, head: Head | None) -> None:
    """Checks all of them before any is counted."""
    for architecture in chosen:
        registry.check_input_size(architecture, head_of(architecture, head), input_size or architecture.input_size)
        if width is not None:
            registry.check_width(architecture, width)


def head_of(architecture: Architecture, head: Head | None) -> Head:
    """Returns the head that is meant by None: the paper's where there is one."""
    return head or ("gap" if architecture.foreign else "original")


def check_drawable(
    names: Sequence[str],
    *,
    classes: int | None = None,
    input_size: int | None = None,
    width: float | None = None,
    head: Head | None = None,
) -> None:
    """Checks, before anything is counted, that one of several architectures will have a top-1 accuracy to draw.

    Raises:
        UnknownNameError, OptionError, BaseError: as `compare`; OptionError too where nothing could be drawn.
    """
    chosen = choose(names, input_size)
    _check(chosen, input_size, width, head)
    known = [one for one in map(figures, chosen) if one.macs and one.accuracy and one.accuracy.top1 is not None]
    listed = some(one.name for one in ([figure.architecture for figure in known] or chosen))
    if not known:
        raise OptionError(f"None of {listed} has a published top-1 accuracy: nothing to draw. Leave --picture out.")
    changes: list[str] = []
    for one in known:
        a = one.architecture
        own_head = head != "gap" or not (a.fully_connected or a.deep_head)
        asked = {
            f"--classes {classes}": classes in (None, one.classes),
            f"--input-size {input_size}": input_size in (None, one.input_size),
            f"--width {width}": width in (None, 1),
            "--head gap": own_head,
        }
        its = [option for option, same in asked.items() if not same]
        if not its:
            return
        changes += its
    options = list(dict.fromkeys(changes))
    raise OptionError(
        f"Nothing to draw: {' and '.join(options)} make{'s' * (len(options) == 1)} another network than the one whose "
        f"accuracy is published (of {listed}). Leave {' and '.join(option.split()[0] for option in options)} out, or "
        "--picture."
    )


def _counted(
    architecture: Architecture, classes: int | None, input_size: int | None, width: float | None, head: Head
) -> Figures:
    from tlkit.lazy import import_keras

    import_keras()
    from tlkit.models.accounting import summarize
    from tlkit.models.skeleton import skeleton

    usual = figures(architecture)
    classes, size = classes or usual.classes, input_size or usual.input_size
    options = {} if width is None else {"width_multiplier": width}
    summary = summarize(skeleton(architecture, classes=classes, input_size=size, head=head, **options))
    same = (summary.parameters, summary.macs, size) == (usual.parameters, usual.macs, usual.input_size)
    return Figures(
        architecture=architecture,
        input_size=size,
        classes=classes,
        depth=summary.depth,
        parameters=summary.parameters,
        macs=None if summary.uncounted else summary.macs,
        accuracy=usual.accuracy if same else None,
    )
