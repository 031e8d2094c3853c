"""A training from phase to phase: the head first, then what is thawed, each with what it keeps and what it caches."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tlkit import metrics, multi_label
from tlkit.data.augment import Augmentation
from tlkit.data.multi_label import label_array
from tlkit.models.auxiliary import without_auxiliaries
from tlkit.progress import Progress
from tlkit.transfer.checkpoint import State, phase_of
from tlkit.transfer.features import Features, NoRoomError, Wanted, cut, features_of
from tlkit.transfer.loop import Training
from tlkit.transfer.mix import mixer
from tlkit.transfer.plans import Phase
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.source import Source, cached_source, pixel_source
from tlkit.transfer.training import Recipe

if TYPE_CHECKING:
    from tlkit.transfer.job import Prepared


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training ends with; the best weights are in the model.

    Attributes:
        source: Of the last phase that ran.
        features: Of that phase, if it had any.
        state: How far it came.
        finished: Whether it came to its end; False when Ctrl-C stopped it.
        schedules: Of every phase of the plan, with its frozen stages, for the manifest.
        augment: Of the last phase, for the manifest.
    """

    source: Source
    features: Features | None
    state: State
    finished: bool
    schedule: Schedule
    phases: list[dict[str, Any]]
    augment: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the manifest's `schedule`."""
        return {
            **self.schedule.to_dict(),
            "epochs": sum(phase["epochs"] for phase in self.phases),
            "epochs_run": len(self.state.rows),
            "best_epoch": self.state.best_epoch,
            "interrupted": not self.finished,
            "dropped": self.state.dropped,
            "phases": self.phases,
        }


def train(prepared: "Prepared", folder: Path, progress: Progress) -> Trained:
    """Trains all phases, or goes on in the one where the run's checkpoint is."""
    decided = prepared.decided
    first = min(phase_of(folder), len(decided.phases) - 1)
    before: State | None = None
    for phase in decided.phases[first:]:
        model = _model(prepared, phase)
        source, features = make_source(prepared, model, phase, progress)
        schedule = _schedule(prepared, phase)
        augmentation = _augmentation(prepared, phase)
        training = Training(
            source,
            prepared.photos,
            schedule,
            frozen=phase.frozen,
            recipe=_recipe(prepared, model),
            stages=decided.architecture.stages,
            seed=prepared.options.seed,
            folder=folder,
            first_epoch=phase.first_epoch,
            max_drop=prepared.options.max_thaw_drop,
            before=before,
        )
        finished = training.run(progress, _title(prepared, phase))
        before = training.state
        if not finished or before.dropped:
            break
    assert before is not None  # a plan has a phase
    return Trained(
        source=source,
        features=features,
        state=before,
        finished=finished,
        schedule=schedule,
        phases=[_about(prepared, one) for one in decided.phases],
        augment=None if augmentation is None else augmentation.to_dict(),
    )


def _model(prepared: "Prepared", phase: Phase) -> keras.Model:
    """Returns what a phase trains: without auxiliary classifiers where their stage is frozen."""
    auxiliaries = prepared.auxiliaries
    if auxiliaries is None or auxiliaries.stage in phase.frozen:
        return without_auxiliaries(prepared.model)
    return prepared.model


def _title(prepared: "Prepared", phase: Phase) -> str:
    stages = prepared.decided.architecture.stages
    if len(prepared.decided.phases) == 1:
        return "Training"
    if phase.frozen == stages:
        return "Training the head"
    return f"Training from {stages[len(phase.frozen)]} on" if phase.frozen else "Training all stages"


def _schedule(prepared: "Prepared", phase: Phase) -> Schedule:
    options = prepared.options
    return Schedule(
        epochs=phase.epochs,
        batch_size=options.batch_size,
        learning_rate=phase.learning_rate,
        patience=options.patience,
        sampling=options.sampling,
    )


def _recipe(prepared: "Prepared", model: keras.Model) -> Recipe:
    options, auxiliaries = prepared.options, prepared.auxiliaries if len(model.outputs) > 1 else None
    return Recipe(
        batch_norm=prepared.decided.batch_norm,
        layer_decay=options.layer_decay,
        weight_decay=options.weight_decay,
        label_smoothing=options.label_smoothing,
        multi_label=prepared.photos.multi_label,
        ema=options.ema,
        auxiliary_weight=0.0 if auxiliaries is None else auxiliaries.loss_weight,
    )


def _augmentation(prepared: "Prepared", phase: Phase) -> Augmentation | None:
    if phase.augment == "none":
        return None
    return Augmentation(phase.augment, views=phase.views, seed=prepared.options.seed)


def _about(prepared: "Prepared", phase: Phase) -> dict[str, Any]:
    """Returns what the manifest says of a phase."""
    return {
        "first_epoch": phase.first_epoch + 1,
        "epochs": phase.epochs,
        "learning_rate": phase.learning_rate,
        "frozen_stages": list(phase.frozen),
        "augment": phase.augment,
        "mix": phase.mix,
    }


def make_source(
    prepared: "Prepared", model: keras.Model, phase: Phase, progress: Progress
) -> tuple[Source, Features | None]:
    """Chooses between cached features and pixels."""
    options, photos, spec = prepared.options, prepared.photos, prepared.spec
    augmentation, count = _augmentation(prepared, phase), len(photos.classes)
    weights = np.ones(count)
    if options.class_weight == "auto":
        labels = label_array(photos.train, count)
        several = photos.multi_label
        weights = multi_label.balanced_weights(labels) if several else metrics.balanced_class_weights(labels, count)
    parts = cut(model, phase.frozen) if phase.cached else None
    if parts is not None:
        wanted = Wanted(
            root=photos.root,
            plain=photos.held_out if augmentation is not None else photos.train + photos.held_out,
            viewed=photos.train,
            augmentation=augmentation,
            spec=spec,
        )
        try:
            features = features_of(parts, wanted, progress=progress)
        except NoRoomError as err:
            progress.warn(f"Training goes uncached and so slower: {err}.")
        else:
            if features.reused:
                what = "photos" if augmentation is None else "photos and views"
                progress.say(f"Frozen stages: the output of {len(features.array)} {what} is reused from the cache")
            return cached_source(parts, features, photos, weights, augmentation), features
    elif phase.frozen and options.cache:
        why = "--batch-norm train moves them" if prepared.decided.batch_norm == "train" else f"--mix {phase.mix}"
        progress.say(f"Frozen stages are computed in every epoch: {why} leaves nothing to cache")
    mix = None if phase.mix == "none" else mixer(phase.mix, classes=count, seed=options.seed)
    return pixel_source(model, photos, spec, weights, augmentation, mix), None
