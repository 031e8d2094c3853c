"""Which stages are trained, and when: each strategy is a pure function of the epoch and the number of stages.

The head is always trained; the stages before it are released from the last to the first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tlkit.errors import OptionError, UnknownNameError, did_you_mean

# From the epoch, from 0, and the number of stages to how many stages, counted from the last, are trained. It never
# falls from one epoch to the next.
Strategy = Callable[[int, int], int]

AUTO = "auto"
FORMS = "all-but-head, none, up-to:STAGE, last:N, gradual[:EPOCHS], head-then:STRATEGY or auto"
_KNOWN = ("all-but-head", "none", "up-to:", "last:", "gradual", "gradual:", "head-then:", AUTO)


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """A strategy and how it was written."""

    text: str
    strategy: Strategy


def all_but_head() -> Strategy:
    """Trains the head alone: feature extraction, for little data."""
    return lambda epoch, stages: 0


def none() -> Strategy:
    """Trains everything: for much data."""
    return lambda epoch, stages: stages


def up_to(index: int) -> Strategy:
    """Freezes the stage with that index and all before it."""
    return lambda epoch, stages: stages - 1 - index


def last(count: int) -> Strategy:
    """Trains the last `count` stages and the head."""
    return lambda epoch, stages: min(count, stages)


def gradual(epochs_per_stage: int) -> Strategy:
    """Begins with the head and releases one more stage every `epochs_per_stage` epochs, the last stage first.

    Source: Howard and Ruder, ULMFiT, arXiv:1801.06146, section 3.3.
    """
    return lambda epoch, stages: min(epoch // epochs_per_stage, stages)


def head_then(then: Strategy, head_epochs: int) -> Strategy:
    """Trains the head alone for `head_epochs` epochs, then follows another strategy.

    What a random head sends back would spoil what the stages have learned. Source: Kumar et al., Fine-Tuning can
    Distort Pretrained Features, arXiv:2202.10054, section 3.4 (LP-FT).
    """
    return lambda epoch, stages: 0 if epoch < head_epochs else then(epoch - head_epochs, stages)


def parse_freeze(text: str, stages: Sequence[str], epochs: int = 2) -> Freeze:
    """Reads the value of `--freeze` for an architecture with these stages.

    Args:
        text: One of `FORMS`, but for `auto`, which is decided elsewhere.
        stages: Of the architecture, from input to output.
        epochs: Of the whole training; `head-then` gives half of them to the head.

    Raises:
        OptionError: not one of the forms, or a number outside the range.
        UnknownNameError: `up-to:` names a stage that is not there.
    """
    kind, _, value = text.partition(":")
    if text == "all-but-head":
        return Freeze(text=text, strategy=all_but_head())
    if text == "none":
        return Freeze(text=text, strategy=none())
    if kind == "up-to":
        if value not in stages:
            raise UnknownNameError(
                f"There is no stage {value!r} to freeze up to.{did_you_mean(value, stages)} "
                f"Stages, from input to output: {', '.join(stages)}"
            )
        return Freeze(text=text, strategy=up_to(list(stages).index(value)))
    if kind == "last":
        return Freeze(text=text, strategy=last(_number(text, value, len(stages))))
    if kind == "gradual":
        return Freeze(text=text, strategy=gradual(_number(text, value, 1000) if ":" in text else 1))
    if kind == "head-then":
        return Freeze(text=text, strategy=head_then(_then(value, stages), head_epochs(epochs)))
    raise OptionError(f"--freeze takes {FORMS}, not {text!r}.{did_you_mean(text, _KNOWN)}")


def head_epochs(epochs: int) -> int:
    """Returns how many epochs `head-then` gives to the head: half, since they are cheap."""
    return max(1, epochs // 2)


def _then(text: str, stages: Sequence[str]) -> Strategy:
    """Reads what follows `head-then:`."""
    if text in ("all-but-head", AUTO, "") or text.startswith("head-then"):
        raise OptionError(
            f"--freeze head-then: takes what is to follow the head, such as none in head-then:none or last:2 in "
            f"head-then:last:2, not {text!r}."
        )
    return parse_freeze(text, stages).strategy


def _number(text: str, value: str, most: int) -> int:
    form = {"last": "last:N", "gradual": "gradual:EPOCHS"}[text.partition(":")[0]]
    if not value.isdecimal() or not 1 <= int(value) <= most:
        raise OptionError(f"--freeze {form} takes a number from 1 to {most} here, not {value!r}.")
    return int(value)


def frozen_stages(freeze: Freeze, stages: Sequence[str], epoch: int = 0) -> tuple[str, ...]:
    """Returns the stages that are frozen in an epoch, a prefix of `stages`."""
    return tuple(stages[: len(stages) - freeze.strategy(epoch, len(stages))])


@dataclass(frozen=True, kw_only=True)
class Period:
    """Epochs in which the same stages are frozen.

    Attributes:
        first: The first of them, from 0.
        epochs: How many.
        frozen: Stages, a prefix of the architecture's.
    """

    first: int
    epochs: int
    frozen: tuple[str, ...]


def periods(freeze: Freeze, stages: Sequence[str], epochs: int) -> tuple[Period, ...]:
    """Returns the periods of a training, in order; each freezes fewer stages than the one before."""
    found: list[Period] = []
    for epoch in range(epochs):
        frozen = frozen_stages(freeze, stages, epoch)
        if found and found[-1].frozen == frozen:
            found[-1] = Period(first=found[-1].first, epochs=found[-1].epochs + 1, frozen=frozen)
        else:
            found.append(Period(first=epoch, epochs=1, frozen=frozen))
    return tuple(found)


def stage_of(layer_name: str) -> str:
    """Returns the stage that a layer's name begins with: `stage3` of `stage3_block2_conv1`."""
    return layer_name.partition("_")[0]
