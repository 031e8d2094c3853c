"""Which stages are trained: each strategy is a pure function of the epoch and the number of stages.

The head is always trained; the stages before it are released from the last to the first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tlkit.errors import OptionError, UnknownNameError, did_you_mean

# From the epoch and the number of stages to how many stages, counted from the last, are trained.
Strategy = Callable[[int, int], int]

FORMS = "all-but-head, none, up-to:STAGE or last:N"


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


def parse_freeze(text: str, stages: Sequence[str]) -> Freeze:
    """Reads the value of `--freeze` for an architecture with these stages.

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
        if not value.isdecimal() or not 1 <= int(value) <= len(stages):
            raise OptionError(f"--freeze last:N takes a number from 1 to {len(stages)} here, not {value!r}.")
        return Freeze(text=text, strategy=last(int(value)))
    known = ("all-but-head", "none", "up-to:", "last:")
    raise OptionError(f"--freeze takes {FORMS}, not {text!r}.{did_you_mean(text, known)}")


def frozen_stages(freeze: Freeze, stages: Sequence[str], epoch: int = 0) -> tuple[str, ...]:
    """Returns the stages that are frozen in an epoch, a prefix of `stages`."""
    return tuple(stages[: len(stages) - freeze.strategy(epoch, len(stages))])


def stage_of(layer_name: str) -> str:
    """Returns the stage that a layer's name begins with: `stage3` of `stage3_block2_conv1`."""
    return layer_name.partition("_")[0]
