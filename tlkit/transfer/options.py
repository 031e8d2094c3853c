"""What can be chosen about a fine-tuning, its defaults, and what goes with what."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tlkit.data.augment import LEVELS
from tlkit.errors import OptionError, RunError, did_you_mean
from tlkit.manifest import DEFAULT_RUNS
from tlkit.models import bases, registry
from tlkit.models.architecture import Architecture, Head
from tlkit.preprocess import PreprocessSpec
from tlkit.transfer.freeze import Freeze, frozen_stages, parse_freeze

DIGITS = "digits"
NO_FILE = ("imagenet", "base", "none")  # what --weights takes beside a file
DEFAULT_VIEWS = 4  # of cached features: each costs a pass
# Whole numbers and what they may be.
RANGES = {
    "epochs": (1, 1_000_000),
    "batch_size": (1, 65_536),
    "patience": (0, 1_000_000),
    "seed": (0, 2**32 - 1),  # NumPy's
    "classes": (2, 1_000_000),
    "views": (1, 1000),
    "input_size": (1, 2048),  # larger ones need more memory than machines have
}


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """The arguments of `finetune`; None means the default that suits the rest.

    Attributes:
        base: Name of an architecture, `keras:NAME`, or a `.keras` file; see `tlkit.models.bases.find`.
        data: Folder of photos, or `digits` for the embedded ones.
        classes: How many classes the data must have; not checked when None.
        weights: `imagenet`, `none` or a file; imagenet where there are any. `base`, those in the file that is the base.
        freeze: See `freeze.FORMS`; all-but-head where weights are pretrained.
        head: `gap` or `original`.
        epochs: At most; 30 when all stages are frozen or random, else 15.
        batch_size: Photos in a step.
        learning_rate: Of Adam, after warm-up; 3e-3, or 3e-4 when pretrained stages train.
        input_size: Side in pixels; the architecture's own, on the digits the smallest it takes.
        dropout: Before the final layer, in [0, 1).
        seed: Of split, initial weights, shuffling and dropout.
        patience: Epochs without a smaller validation loss before training stops; 0 never stops early.
        class_weight: `auto` weighs classes inversely to their frequency.
        name: Of the run folder.
        runs: Where run folders are made.
        strict: Whether a file that can't be used is an error.
        cache: Whether frozen stages are computed once.
        augment: `none`, `light` or `strong`; see `tlkit.data.augment.LEVELS`.
        views: How many augmented views of each photo there are. By default 4 where they are cached; elsewhere, and
            with `cache=False`, every epoch sees new ones.
        width: Width multiplier, where the architecture takes one; 1 when None.
        base_input: What the input of a base that is a file takes: a key of `tlkit.models.bases.BASE_INPUTS`.
        decode: `full`, or `scaled` for large JPEG photos; see `tlkit.preprocess.PreprocessSpec`.
    """

    base: str | Path
    data: str | Path = DIGITS
    classes: int | None = None
    weights: str | Path | None = None
    freeze: str | None = None
    head: Head | None = None
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    input_size: int | None = None
    dropout: float | None = None
    seed: int = 0
    patience: int = 8
    class_weight: Literal["auto", "none"] = "none"
    name: str | None = None
    runs: Path = DEFAULT_RUNS
    strict: bool = False
    cache: bool = True
    augment: str = "none"
    views: int | None = None
    width: float | None = None
    base_input: str | None = None
    decode: Literal["full", "scaled"] = "full"

    def to_dict(self) -> dict[str, Any]:
        """Returns what the manifest records, so that a training can go on."""
        paths = {name: str(value) for name, value in vars(self).items() if isinstance(value, Path)}
        if self.weights is not None and str(self.weights) not in NO_FILE:
            paths["weights"] = os.path.abspath(Path(self.weights).expanduser())  # it may go on from another folder
        if bases.is_path(str(self.base)):
            paths["base"] = os.path.abspath(Path(self.base).expanduser())
        return {**vars(self), **paths}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FinetuneOptions":
        """Reads what `to_dict` wrote.

        Raises:
            RunError: another version of tlkit wrote it.
        """
        try:
            return cls(**{**values, "runs": Path(values["runs"])})
        except (KeyError, TypeError) as err:
            raise RunError(
                f"This run was begun by another version of tlkit ({err}). Go on with that one, or train again."
            ) from err


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Options with every default decided. Attributes as in `FinetuneOptions`, plus the architecture and the stages.

    `builder` are the arguments of the architecture's builder that were chosen.
    """

    architecture: Architecture
    own_data: bool
    weights: str
    freeze: Freeze
    frozen: tuple[str, ...]
    head: Head
    input_size: int
    epochs: int
    learning_rate: float
    views: int | None
    builder: dict[str, Any]
    decode: Literal["full", "scaled"] = "full"


def spec_of(decided: Plan) -> PreprocessSpec:
    """Returns how photos become the pixels that this training sees."""
    return PreprocessSpec(input_size=decided.input_size, decode=decided.decode)


def plan(options: FinetuneOptions) -> Plan:
    """Decides every default and checks what can be checked before any photo is read.

    Raises:
        UnknownNameError, OptionError: a name that does not exist, a value out of range, or options that don't go
            together.
    """
    own_data = str(options.data) != DIGITS
    _check_ranges(options)
    architecture = bases.find(
        str(options.base), input_size=options.input_size, smallest=not own_data, base_input=options.base_input
    )
    if options.width is not None:
        registry.check_width(architecture, options.width)
    head = architecture.head if options.head is None else options.head
    size = options.input_size
    if size is None:
        whole = own_data or architecture.foreign == "file"
        size = architecture.input_size if whole else architecture.smallest(head)
    registry.check_input_size(architecture, head, size)
    weights = str(options.weights) if options.weights is not None else _default_weights(architecture)
    _check_weights(weights, architecture)
    strategy = options.freeze
    if strategy is None:
        strategy = "none" if weights == "none" else "all-but-head"
    freeze = parse_freeze(strategy, architecture.stages)
    frozen = frozen_stages(freeze, architecture.stages)
    if frozen and weights == "none" and options.weights is None and own_data:
        raise OptionError(
            f"{architecture.name} has no pretrained weights, so --freeze {freeze.text} would freeze random ones. "
            "Train all of it with --freeze none, or say --weights none if random features are what you want."
        )
    tuned = weights != "none" and frozen != architecture.stages  # pretrained stages are trained
    return Plan(
        architecture=architecture,
        own_data=own_data,
        weights=weights,
        freeze=freeze,
        frozen=frozen,
        head=head,
        input_size=size,
        epochs=options.epochs if options.epochs is not None else (15 if tuned else 30),
        learning_rate=options.learning_rate if options.learning_rate is not None else (3e-4 if tuned else 3e-3),
        views=_views(options, cached=bool(frozen) and options.cache),
        builder={} if options.width is None else {"width_multiplier": options.width},
        decode=options.decode,
    )


def _views(options: FinetuneOptions, *, cached: bool) -> int | None:
    if options.augment == "none" or options.views is not None:
        return options.views
    return DEFAULT_VIEWS if cached else None


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


def _check_ranges(options: FinetuneOptions) -> None:
    """Checks numbers; the command line does the same, Python callers have only this."""
    for name, (least, most) in RANGES.items():
        value = getattr(options, name)
        if value is not None and (not isinstance(value, int) or not least <= value <= most):
            raise OptionError(
                f"--{name.replace('_', '-')} must be a whole number from {least} to {most}, not {value!r}."
            )
    if options.learning_rate is not None and not 0 < options.learning_rate <= 10:
        raise OptionError(f"--learning-rate must be above 0 and at most 10, not {options.learning_rate}.")
    if options.dropout is not None and not 0 <= options.dropout < 1:
        raise OptionError(f"--dropout must be at least 0 and below 1, not {options.dropout}.")
    if options.augment not in LEVELS:
        raise OptionError(
            f"--augment takes {', '.join(LEVELS)}, not {options.augment!r}.{did_you_mean(options.augment, LEVELS)}"
        )
    if options.views is not None and options.augment == "none":
        raise OptionError(f"--views {options.views} needs --augment light or strong: without, all views are the same.")
    if options.class_weight not in ("auto", "none"):
        raise OptionError(f"--class-weight takes auto or none, not {options.class_weight!r}.")
    if options.decode not in ("full", "scaled"):
        raise OptionError(f"--decode takes full or scaled, not {options.decode!r}.")
    if options.head not in (None, "gap", "original"):
        raise OptionError(f"--head takes gap or original, not {options.head!r}.")
