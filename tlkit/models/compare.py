"""Architectures side by side: from the registry's figures, or counted anew for another input size or width.

Imports nothing heavy unless something has to be counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tlkit.errors import OptionError
from tlkit.models import registry
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


def compare(
    names: Sequence[str],
    *,
    classes: int | None = None,
    input_size: int | None = None,
    width: float | None = None,
    head: Head = "original",
) -> list[Figures]:
    """Returns the figures of several architectures, in the order of the names; `all` is every one.

    Args:
        names: Of `tlkit models`.
        classes: Width of the final layer; None is the paper's.
        input_size: Side of the input in pixels; None is each one's own.
        width: Multiplier of the channels, for those that have one; None is 1.
        head: The paper's, or `gap` as for transfer.

    Raises:
        UnknownNameError: no such architecture.
        OptionError: fewer than two names, or an option does not fit one of them.
    """
    chosen = registry.ARCHITECTURES if ALL in names else [registry.find(name) for name in dict.fromkeys(names)]
    if len(chosen) < 2:
        raise OptionError("--compare takes two architectures or more, or `all`. List them with: tlkit models")
    if classes is input_size is width is None and head == "original":
        return [figures(architecture) for architecture in chosen]
    for architecture in chosen:  # before Keras is imported
        registry.check_input_size(architecture, head, input_size or architecture.input_size)
        if width is not None:
            registry.check_width(architecture, width)
    return [_counted(architecture, classes, input_size, width, head) for architecture in chosen]


def _counted(
    architecture: Architecture, classes: int | None, input_size: int | None, width: float | None, head: Head
) -> Figures:
    from tlkit.models.accounting import summarize
    from tlkit.models.skeleton import skeleton

    usual = figures(architecture)
    classes, size = classes or usual.classes, input_size or usual.input_size
    options = {} if width is None else {"width_multiplier": width}
    summary = summarize(skeleton(architecture.name, classes=classes, input_size=size, head=head, **options))
    same = (summary.parameters, summary.macs, size) == (usual.parameters, usual.macs, usual.input_size)
    return Figures(
        architecture=architecture,
        input_size=size,
        classes=classes,
        depth=summary.depth,
        parameters=summary.parameters,
        macs=summary.macs,
        accuracy=usual.accuracy if same else None,
    )
