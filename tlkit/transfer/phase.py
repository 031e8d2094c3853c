"""What each phase of a training does: a function of the options and of what is frozen."""

from dataclasses import dataclass
from typing import Literal

from tlkit.models.architecture import Architecture
from tlkit.transfer.backend import can_augment
from tlkit.transfer.freeze import Freeze, periods
from tlkit.transfer.options import FinetuneOptions

DEFAULT_VIEWS = 4  # of cached features: each costs a pass
# Learning rates of a head alone, and of random weights; of pretrained stages; of such that follow a trained head, with
# batch norms (docs/training.md has the figures) and without, where as large a rate would spoil them.
FAST, SLOW = 3e-3, 3e-4
THAWED, THAWED_BARE = 1e-3, 1e-4
PATIENCE = 8
SMOOTHING = 0.1
BatchNorm = Literal["frozen", "with its stage", "train"]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Epochs with the same frozen stages.

    Attributes:
        frozen: Stages, a prefix of the architecture's.
        first_epoch: From 0.
        epochs: At most.
        learning_rate: After the phase's own warm-up; a cosine takes it to 0. None: to be found when the phase begins.
        augment: A level of `tlkit.data.augment.LEVELS`.
        views: How many views of each photo there are; None makes new ones in every epoch.
        patience: Epochs without a smaller validation loss before the phase ends; 0 never ends it early.
        mix: How photos of a batch are mixed in pairs.
        label_smoothing: Share of each label that is spread over all classes.
        cached: Whether the output of the frozen stages is computed once.
    """

    frozen: tuple[str, ...]
    first_epoch: int
    epochs: int
    learning_rate: float | None
    augment: str
    views: int | None
    patience: int
    mix: str
    label_smoothing: float
    cached: bool


def phases_of(
    options: FinetuneOptions,
    architecture: Architecture,
    freeze: Freeze,
    weights: str,
    epochs: int,
    batch_norm: BatchNorm,
) -> tuple[Phase, ...]:
    """Decides what each period of the strategy does."""
    found: list[Phase] = []
    parts = periods(freeze, architecture.stages, epochs)
    for period in parts:
        tuned = weights != "none" and period.frozen != architecture.stages  # pretrained stages are trained
        rate = _rate(options, architecture, tuned=tuned, thawed=bool(found), only=len(parts) == 1)
        if period.frozen == architecture.stages and options.head_learning_rate is not None:
            rate = options.head_learning_rate
        mix = options.mix if tuned or len(parts) == 1 else "none"  # a head before thawing is better served by the cache
        cached = bool(period.frozen) and options.cache and batch_norm != "train" and mix == "none"
        augment = options.augment or ("light" if tuned and not period.frozen and can_augment() else "none")
        found.append(
            Phase(
                frozen=period.frozen,
                first_epoch=period.first,
                epochs=period.epochs,
                learning_rate=rate,
                augment=augment,
                views=_views(options, augment, cached=cached, epochs=period.epochs),
                patience=_patience(options, thawed=tuned and len(found) > 0),
                mix=mix,
                label_smoothing=_smoothing(options, tuned=tuned),
                cached=cached,
            )
        )
    return tuple(found)


def _smoothing(options: FinetuneOptions, *, tuned: bool) -> float:
    if options.label_smoothing is not None:
        return options.label_smoothing
    return SMOOTHING if tuned else 0.0


def _rate(
    options: FinetuneOptions, architecture: Architecture, *, tuned: bool, thawed: bool, only: bool
) -> float | None:
    """Decides the learning rate of a period; None: to be found when it begins."""
    if options.learning_rate == "auto":
        return None
    if not tuned:
        # A head before thawing learns fast, whatever the stages take.
        return options.learning_rate or FAST if only else max(options.learning_rate or FAST, FAST)
    if options.learning_rate:
        return options.learning_rate
    if not thawed or architecture.foreign:
        return SLOW
    return THAWED_BARE if architecture.trainable_params is None else THAWED


def _patience(options: FinetuneOptions, *, thawed: bool) -> int:
    """Thawed stages are given their time: the accuracy comes with the end of the cosine."""
    if options.patience is not None:
        return options.patience
    return 0 if thawed else PATIENCE


def _views(options: FinetuneOptions, augment: str, *, cached: bool, epochs: int) -> int | None:
    views = options.views if options.views is not None else DEFAULT_VIEWS if cached else None
    if augment == "none" or views is None:
        return None
    return min(views, epochs)  # no epoch sees more
