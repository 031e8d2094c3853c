"""What a fine-tuning does, decided before any photo is read: every default, and what goes with what."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tlkit.errors import OptionError
from tlkit.models import bases, registry
from tlkit.models.architecture import Architecture, Head
from tlkit.preprocess import PreprocessSpec
from tlkit.transfer.backend import can_augment, check_backend
from tlkit.transfer.freeze import AUTO, Freeze, parse_freeze
from tlkit.transfer.options import DIGITS, FinetuneOptions, check_values
from tlkit.transfer.phase import BatchNorm, Phase, phases_of


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What `--freeze auto` decided.

    Attributes:
        strategy: As `--freeze` takes it.
        why: In a sentence.
        epochs, learning_rate, augment: That suit it, where the user did not say.
        probe: What was measured, for the manifest.
    """

    strategy: str
    why: str
    epochs: int | None = None
    learning_rate: float | None = None
    augment: str | None = None
    probe: dict[str, Any] | None = None

    @classmethod
    def from_manifest(cls, freeze: dict[str, Any]) -> "Choice | None":
        """Reads what a run recorded; None when nothing was chosen for it."""
        return cls(**chosen) if (chosen := freeze.get("chosen")) else None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Options with every default decided. Attributes as in `FinetuneOptions`, plus the architecture.

    Attributes:
        undecided: Whether the strategy is still to be chosen, with the photos: then `phases` train the head alone.
        choice: What was chosen.
        phases: In order, each with fewer frozen stages than the one before.
        builder: Arguments of the architecture's builder that were chosen.
    """

    architecture: Architecture
    own_data: bool
    weights: str
    freeze: Freeze
    undecided: bool
    choice: Choice | None
    phases: tuple[Phase, ...]
    batch_norm: BatchNorm
    head: Head
    input_size: int
    epochs: int
    builder: dict[str, Any]
    decode: Literal["full", "scaled"]

    @property
    def spec(self) -> PreprocessSpec:
        """How photos become the pixels that this training sees."""
        return PreprocessSpec(input_size=self.input_size, decode=self.decode)

    @property
    def frozen(self) -> tuple[str, ...]:
        """The stages that are never trained."""
        return self.phases[-1].frozen

    @property
    def learning_rate(self) -> float | None:
        """Of the last phase; None: to be found."""
        return self.phases[-1].learning_rate

    def to_freeze(self) -> dict[str, Any]:
        """Returns the manifest's `freeze`, as far as it is known before training."""
        return {
            "strategy": self.freeze.text,
            "chosen": None if self.choice is None else vars(self.choice),
            "frozen_stages": list(self.frozen),
            "batch_norm": self.batch_norm,
        }


def plan(options: FinetuneOptions, choice: Choice | None = None) -> Plan:
    """Decides every default and checks what can be checked before any photo is read.

    Args:
        options: What the user said.
        choice: What `--freeze auto` has become.

    Raises:
        UnknownNameError, OptionError: a name that does not exist, a value out of range, or options that don't go
            together.
    """
    own_data = str(options.data) != DIGITS
    check_values(options)
    check_backend(options)
    architecture = bases.find(
        str(options.base), input_size=options.input_size, smallest=not own_data, base_input=options.base_input
    )
    if options.width is not None:
        registry.check_width(architecture, options.width)
    head = architecture.head if options.head is None else options.head
    size = _input_size(options, architecture, head, own_data=own_data)
    registry.check_head_width(head, options.head_width or 0)
    weights = _weights(options, architecture)
    text = options.freeze if options.freeze is not None else AUTO if weights != "none" else "none"
    if text == AUTO and weights == "none":
        choice = Choice(strategy="none", why="there are no pretrained weights to keep")
    strategy = text if text != AUTO else choice.strategy if choice else "all-but-head"
    if text == AUTO and choice is not None:
        options = _with_choice(options, choice)
    epochs = options.epochs or (choice and choice.epochs) or _default_epochs(strategy, weights)
    freeze = parse_freeze(strategy, architecture.stages, epochs)
    batch_norm = _batch_norm(options, weights)
    phases = phases_of(options, architecture, freeze, weights, epochs, batch_norm)
    if phases[-1].frozen and weights == "none" and options.weights is None and own_data:
        raise OptionError(
            f"{architecture.name} has no pretrained weights, so --freeze {freeze.text} would freeze random ones. "
            "Train all of it with --freeze none, or say --weights none if random features are what you want."
        )
    return Plan(
        architecture=architecture,
        own_data=own_data,
        weights=weights,
        freeze=freeze if text != AUTO else Freeze(text=AUTO, strategy=freeze.strategy),
        undecided=text == AUTO and choice is None,
        choice=choice,
        phases=phases,
        batch_norm=batch_norm,
        head=head,
        input_size=size,
        epochs=epochs,
        builder={
            **({} if options.width is None else {"width_multiplier": options.width}),
            **({} if not options.head_width else {"head_width": options.head_width}),
        },
        decode=options.decode,
    )


def _input_size(options: FinetuneOptions, architecture: Architecture, head: Head, *, own_data: bool) -> int:
    size = options.input_size
    if size is None:
        whole = own_data or architecture.foreign == "file"
        size = architecture.input_size if whole else architecture.smallest(head)
    registry.check_input_size(architecture, head, size)
    return size


def _weights(options: FinetuneOptions, architecture: Architecture) -> str:
    if options.parent is not None:
        return str(Path(options.parent) / "model.keras")
    weights = str(options.weights) if options.weights is not None else _default_weights(architecture)
    _check_weights(weights, architecture)
    return weights


def _with_choice(options: FinetuneOptions, choice: Choice) -> FinetuneOptions:
    """Fills in what was chosen and not said."""
    return replace(
        options,
        learning_rate=choice.learning_rate if options.learning_rate is None else options.learning_rate,
        augment=choice.augment if options.augment is None and can_augment() else options.augment,
    )


def _default_epochs(strategy: str, weights: str) -> int:
    """30 for a head alone and for random weights; 15 for pretrained stages, and 15 more for a head before them."""
    if weights == "none" or strategy == "all-but-head" or strategy.startswith("head-then"):
        return 30
    return 15


def _batch_norm(options: FinetuneOptions, weights: str) -> BatchNorm:
    if options.batch_norm is None:
        return "frozen" if weights != "none" else "with its stage"
    return options.batch_norm


def _default_weights(architecture: Architecture) -> str:
    if architecture.foreign == "file":
        return "base"
    return "imagenet" if architecture.published or architecture.foreign else "none"


def _check_weights(weights: str, architecture: Architecture) -> None:
    name = architecture.name
    if architecture.foreign == "file" and weights not in ("base", "none"):
        raise OptionError(f"{name} brings its own weights. Leave --weights out, or use --weights none.")
    if weights == "imagenet" and architecture.published is None and architecture.foreign is None:
        raise OptionError(f"There are no ImageNet weights for {name}. Use --weights none, or a file that you have.")
