"""What can be chosen about a fine-tuning; `plans.py` decides what was not."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from tlkit.data.augment import LEVELS
from tlkit.errors import OptionError, RunError, did_you_mean
from tlkit.manifest import DEFAULT_RUNS
from tlkit.models import bases
from tlkit.models.architecture import Head
from tlkit.transfer import devices

DIGITS = "digits"
WEIGHT_DECAY = 0.01  # where none is given
NO_FILE = ("imagenet", "base", "none")  # what --weights takes beside a file
# Whole numbers and what they may be.
RANGES = {
    "epochs": (1, 1_000_000),
    "batch_size": (1, 65_536),
    "patience": (0, 1_000_000),
    "seed": (0, 2**32 - 1),  # NumPy's
    "classes": (2, 1_000_000),
    "views": (1, 1000),
    "input_size": (1, 2048),  # larger ones need more memory than machines have
    "tune": (2, 10_000),
}


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """The arguments of `finetune`; None means the default that suits the rest.

    Attributes:
        base: Name of an architecture, `keras:NAME`, or a `.keras` file; see `tlkit.models.bases.find`. None with
            `parent` alone.
        data: Folder of photos, or `digits` for the embedded ones.
        classes: How many classes the data must have; not checked when None.
        weights: `imagenet`, `none` or a file; imagenet where there are any. `base`, those in the file that is the base.
        freeze: See `freeze.FORMS`; auto where weights are pretrained, else none.
        head: `gap` or `original`.
        epochs: At most, of all phases together; what suits the strategy when None.
        batch_size: Photos in a step.
        learning_rate: Of Adam, after warm-up; `auto`: found by a sweep before each phase. By default 3e-3 for a head
            alone and for random weights, smaller when pretrained stages train. While the head alone trains first, its
            rate is 3e-3 at least.
        input_size: Side in pixels; the architecture's own, on the digits the smallest it takes.
        dropout: Before the final layer, in [0, 1).
        seed: Of split, initial weights, shuffling and dropout.
        patience: Epochs without a smaller validation loss before a phase ends; 0 never ends it early. 8 when None,
            and 0 for stages that are thawed after the head.
        class_weight: `auto` weighs classes inversely to their frequency.
        name: Of the run folder.
        runs: Where run folders are made.
        strict: Whether a file that can't be used is an error.
        cache: Whether frozen stages are computed once.
        augment: `none`, `light` or `strong`; see `tlkit.data.augment.LEVELS`. By default light where all pretrained
            stages are trained, else none.
        views: How many augmented views of each photo there are. By default 4 where they are cached; elsewhere, and
            with `cache=False`, every epoch sees new ones.
        width: Width multiplier, where the architecture takes one; 1 when None.
        base_input: What the input of a base that is a file takes: a key of `tlkit.models.bases.BASE_INPUTS`.
        layer_decay: Factor of the learning rate from one stage to the one before it, in (0, 1]; the head has 1.
        batch_norm: `frozen` keeps the statistics, scales and offsets of every batch norm; `train` trains all of them,
            in frozen stages too, so that nothing can be cached. By default frozen where weights are pretrained, and
            trained with their stage where they are not.
        weight_decay: Of kernels alone, decoupled from the gradient, times the learning rate; 0.01 when None.
        label_smoothing: Share of each label that is spread over all classes, in [0, 1). By default 0.1 where
            pretrained stages are trained, else 0.
        mix: `mixup` or `cutmix` photos of a batch in pairs, or `none`. Not with cached features.
        ema: Decay of the moving average of the weights that is validated and kept, in [0, 1); 0 keeps the weights.
        sampling: `balanced` draws every class equally often, `natural` every photo once an epoch.
        max_thaw_drop: How much validation accuracy the first epoch of thawed stages may lose, beyond what chance
            explains, before the run returns to the best weights.
        decode: `full`, or `scaled` for large JPEG photos; see `tlkit.preprocess.PreprocessSpec`.
        parent: A complete run, by path or name, whose model goes on with its photos and those in `data`; see
            `tlkit.transfer.grow`.
        parent_data: Where its photos are now, if they have moved.
        head_width: Units of a hidden layer of the head `gap`; 0, and None, for no such layer.
        head_learning_rate, head_weight_decay: Of phases that train the head alone; those of all phases when None.
        tune: How many settings of the head to try before training (see `tlkit.transfer.tune`); None tries none.
        precision: `float32`, `mixed_float16` or `mixed_bfloat16`, in which layers compute in training; `auto` takes
            what the chip is fast in. What is saved is float32.
        devices: How many GPUs share each batch, or `all`.
        multi_label: Whether a photo may have any number of labels; `data` is a table then.
    """

    base: str | Path | None = None
    data: str | Path = DIGITS
    classes: int | None = None
    weights: str | Path | None = None
    freeze: str | None = None
    head: Head | None = None
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float | Literal["auto"] | None = None
    input_size: int | None = None
    dropout: float | None = None
    seed: int = 0
    patience: int | None = None
    class_weight: Literal["auto", "none"] = "none"
    name: str | None = None
    runs: Path = DEFAULT_RUNS
    strict: bool = False
    cache: bool = True
    augment: str | None = None
    views: int | None = None
    width: float | None = None
    base_input: str | None = None
    layer_decay: float = 1.0
    batch_norm: Literal["frozen", "train"] | None = None
    weight_decay: float | None = None
    label_smoothing: float | None = None
    mix: Literal["none", "mixup", "cutmix"] = "none"
    ema: float = 0.0
    sampling: Literal["natural", "balanced"] = "natural"
    max_thaw_drop: float = 0.1
    decode: Literal["full", "scaled"] = "full"
    parent: str | Path | None = None
    parent_data: str | Path | None = None
    head_width: int | None = None
    head_learning_rate: float | None = None
    head_weight_decay: float | None = None
    tune: int | None = None
    precision: str = "auto"
    devices: int | str = 1
    multi_label: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns what the manifest records, so that a training can go on."""
        paths = {name: str(value) for name, value in vars(self).items() if isinstance(value, Path)}
        if self.weights is not None and str(self.weights) not in NO_FILE:
            paths["weights"] = os.path.abspath(Path(self.weights).expanduser())  # it may go on from another folder
        if self.base is not None and bases.is_path(str(self.base)):
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


# Fractions and where they lie: least, whether it may be that, most, whether it may be that.
FRACTIONS = {
    "learning_rate": (0, False, 10, True),
    "dropout": (0, True, 1, False),
    "layer_decay": (0, False, 1, True),
    "weight_decay": (0, True, 1, True),
    "label_smoothing": (0, True, 1, False),
    "ema": (0, True, 1, False),
    "max_thaw_drop": (0, True, 1, True),
    "head_learning_rate": (0, False, 10, True),
    "head_weight_decay": (0, True, 1, True),
}
CHOICES = {
    "class_weight": ("auto", "none"),
    "head": ("gap", "original"),
    "batch_norm": ("frozen", "train"),
    "mix": ("none", "mixup", "cutmix"),
    "sampling": ("natural", "balanced"),
    "decode": ("full", "scaled"),
    "augment": tuple(LEVELS),
    "precision": ("auto", "float32", "mixed_float16", "mixed_bfloat16"),
}


def check_values(options: FinetuneOptions) -> None:
    """Checks each value by itself; the command line does the same, Python callers have only this.

    Raises:
        OptionError: a value out of its range.
    """
    if options.base is None and options.parent is None:
        raise OptionError("No base was given. Architectures are listed by: tlkit models")
    if options.parent_data is not None and options.parent is None:
        raise OptionError("--parent-data says where the photos of the run in --from are. Add --from, or use --data.")
    for field in fields(options):
        if getattr(options, field.name) is None and field.default is not None:
            raise OptionError(f"{_flag(field.name)} can't be None. Leave it out for its default, {field.default!r}.")
    for name, (least, most) in RANGES.items():
        value = getattr(options, name)
        if value is not None and (not isinstance(value, int) or not least <= value <= most):
            raise OptionError(f"{_flag(name)} must be a whole number from {least} to {most}, not {value!r}.")
    for name, (low, with_low, high, with_high) in FRACTIONS.items():
        value = getattr(options, name)
        if value is None or (name == "learning_rate" and value == "auto"):
            continue
        if not isinstance(value, int | float) or not (
            (low <= value if with_low else low < value) and (value <= high if with_high else value < high)
        ):
            lower = f"at least {low}" if with_low else f"above {low}"
            upper = f"at most {high}" if with_high else f"below {high}"
            auto = "auto, or " if name == "learning_rate" else ""
            raise OptionError(f"{_flag(name)} must be {auto}{lower} and {upper}, not {value!r}.")
    for name, choices in CHOICES.items():
        value = getattr(options, name)
        if value is not None and value not in choices:
            listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
            raise OptionError(f"{_flag(name)} takes {listed}, not {value!r}.{did_you_mean(str(value), choices)}")
    devices.check(options.devices)
    if options.views is not None and options.augment == "none":
        raise OptionError(f"--views {options.views} needs --augment light or strong: without, all views are the same.")
    if options.class_weight == "auto" and options.sampling == "balanced":
        raise OptionError("--class-weight auto and --sampling balanced both correct the same imbalance. Use one.")
    if options.multi_label and options.sampling == "balanced":
        raise OptionError(
            "--sampling balanced draws photos by their one class, and with --multi-label they have any number. Use "
            "--class-weight auto."
        )
    if options.multi_label and str(options.data) in (DIGITS, "arrays"):
        raise OptionError(
            f"--multi-label takes photos that a table lists, not {options.data}: --data labels.csv, with a column "
            "called path and one called label, with cells such as cat|dog."
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
