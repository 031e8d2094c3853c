"""A training from phase to phase: the head first, then what is thawed, each with what it keeps and what it caches."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tlkit import metrics, multi_label
from tlkit.data.augment import Augmentation
from tlkit.data.multi_label import label_array
from tlkit.models.auxiliary import without_auxiliaries
from tlkit.progress import Progress
from tlkit.transfer.callbacks import Watch
from tlkit.transfer.checkpoint import State, phase_of
from tlkit.transfer.features import Features, NoRoomError, Wanted, cut, features_of
from tlkit.transfer.loop import Training
from tlkit.transfer.lr_finder import Find, Finds
from tlkit.transfer.mix import mixer
from tlkit.transfer.options import WEIGHT_DECAY
from tlkit.transfer.phase import Phase
from tlkit.transfer.plans import plan
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.source import Source, cached_source, pixel_source
from tlkit.transfer.sweep import sweep
from tlkit.transfer.training import Recipe
from tlkit.transfer.twin import copy_weights

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
            "drops": self.state.drops,
            "phases": self.phases,
        }


def train(prepared: "Prepared", folder: Path, progress: Progress) -> Trained:
    """Trains all phases, or goes on in the one where the run's checkpoint is."""
    decided = prepared.decided
    copy_weights(prepared.model, prepared.twin)
    first = min(phase_of(folder), len(decided.phases) - 1)
    before: State | None = None
    watch = Watch(prepared.callbacks, without_auxiliaries(prepared.twin), epochs=decided.epochs)
    finds = Finds(folder)
    settled = [replace(one, learning_rate=one.learning_rate or finds.rate(i)) for i, one in enumerate(decided.phases)]
    for number in range(first, len(settled)):
        phase = settled[number]
        model = _model(prepared, phase)
        try:
            ready = make_source(prepared, model, phase, progress)
            if phase.learning_rate is None:
                phase = settled[number] = _found(prepared, number, ready[0], finds, progress)
        except KeyboardInterrupt:
            if before is None:
                raise
            finished = False  # between two phases there is a trained model to keep
            progress.say("Stopping before the next phase, then evaluating")
            break
        source, features = ready
        schedule = schedule_of(prepared, phase)
        augmentation = _augmentation(prepared, phase)
        training = Training(
            source,
            prepared.photos,
            schedule,
            frozen=phase.frozen,
            recipe=_recipe(prepared, phase, model),
            stages=decided.architecture.stages,
            seed=prepared.options.seed,
            folder=folder,
            first_epoch=phase.first_epoch,
            max_drop=prepared.options.max_thaw_drop,
            before=before,
            trained_before=prepared.options.parent is not None,
            watch=watch,
        )
        finished = training.run(progress, _title(prepared, phase))
        before = training.state
        if not finished or before.stopped:
            break
    assert before is not None  # a plan has a phase
    if len(before.begins) > 1 and 0 < before.best_epoch <= before.begins[1] and finished:
        progress.say(f"Thawing brought nothing better: the weights of epoch {before.best_epoch} are kept")
    watch.end(before.rows)
    copy_weights(prepared.twin, prepared.model)
    return Trained(
        source=source,
        features=features,
        state=before,
        finished=finished,
        schedule=schedule,
        phases=[_about(one, i, before) for i, one in enumerate(settled)],
        augment=None if augmentation is None else augmentation.to_dict(),
    )


def _model(prepared: "Prepared", phase: Phase) -> keras.Model:
    """Returns what a phase trains: without auxiliary classifiers where their stage is frozen."""
    auxiliaries = prepared.auxiliaries
    if auxiliaries is None or auxiliaries.stage in phase.frozen:
        return without_auxiliaries(prepared.twin)
    return prepared.twin


def _title(prepared: "Prepared", phase: Phase) -> str:
    stages = prepared.decided.architecture.stages
    if len(prepared.decided.phases) == 1:
        return "Training"
    if phase.frozen == stages:
        return "Training the head"
    return f"Training from {stages[len(phase.frozen)]} on" if phase.frozen else "Training all stages"


def _found(prepared: "Prepared", number: int, source: Source, finds: Finds, progress: Progress) -> Phase:
    """Looks for the learning rate of a phase, and keeps it before anything is trained with it."""
    phase = prepared.decided.phases[number]
    find = find_rate(prepared, phase, progress, source)
    if find.learning_rate is None:
        usual = (
            plan(replace(prepared.options, learning_rate=None), prepared.decided.choice).phases[number].learning_rate
        )
        progress.warn(f"The loss falls at no learning rate of the sweep, so the usual one is taken: {usual:g}")
        find = replace(find, learning_rate=usual)
    else:
        progress.say(f"--learning-rate auto: {find.learning_rate:.2g}, where the loss falls most steeply")
    finds.add(number, find)
    return replace(phase, learning_rate=find.learning_rate)


def find_rate(prepared: "Prepared", phase: Phase, progress: Progress, source: Source | None = None) -> Find:
    """Sweeps through learning rates for a phase of the model as it is, and leaves it so."""
    model = _model(prepared, phase)
    if source is None:
        source, _ = make_source(prepared, model, phase, progress)
    return sweep(
        source,
        np.array([photo.label for photo in prepared.photos.train]),
        batch_size=prepared.options.batch_size,
        frozen=phase.frozen,
        recipe=_recipe(prepared, phase, model),
        stages=prepared.decided.architecture.stages,
        seed=prepared.options.seed,
        progress=progress,
        title=_title(prepared, phase),
        sampling=prepared.options.sampling,
    )


def schedule_of(prepared: "Prepared", phase: Phase) -> Schedule:
    """Returns how a phase is trained; its learning rate is known."""
    options = prepared.options
    assert phase.learning_rate is not None
    return Schedule(
        epochs=phase.epochs,
        batch_size=options.batch_size,
        learning_rate=phase.learning_rate,
        patience=phase.patience,
        sampling=options.sampling,
    )


def _recipe(prepared: "Prepared", phase: Phase, model: keras.Model) -> Recipe:
    options, auxiliaries = prepared.options, prepared.auxiliaries if len(model.outputs) > 1 else None
    usual = WEIGHT_DECAY if options.weight_decay is None else options.weight_decay
    alone = options.head_weight_decay if phase.frozen == prepared.decided.architecture.stages else None
    return Recipe(
        batch_norm=prepared.decided.batch_norm,
        layer_decay=options.layer_decay,
        weight_decay=usual if alone is None else alone,
        label_smoothing=phase.label_smoothing,
        multi_label=prepared.photos.multi_label,
        ema=options.ema,
        auxiliary_weight=0.0 if auxiliaries is None else auxiliaries.loss_weight,
    )


def _augmentation(prepared: "Prepared", phase: Phase) -> Augmentation | None:
    if phase.augment == "none":
        return None
    return Augmentation(phase.augment, views=phase.views, seed=prepared.options.seed)


def _about(phase: Phase, number: int, state: State) -> dict[str, Any]:
    """Returns what the manifest says of a phase; `ran` are its first and last row of history.csv, if it has any."""
    ends = [*state.begins[1:], len(state.rows)]
    ran = [state.begins[number] + 1, ends[number]] if number < len(state.begins) else None
    return {
        "epochs": phase.epochs,
        "ran": ran if ran and ran[1] >= ran[0] else None,
        "learning_rate": phase.learning_rate,
        "frozen_stages": list(phase.frozen),
        "augment": phase.augment,
        "mix": phase.mix,
        "label_smoothing": phase.label_smoothing,
    }


def make_source(
    prepared: "Prepared", model: keras.Model, phase: Phase, progress: Progress
) -> tuple[Source, Features | None]:
    """Chooses between cached features and pixels."""
    options, photos, spec = prepared.options, prepared.photos, prepared.spec
    augmentation, count = _augmentation(prepared, phase), len(photos.classes)
    weights = class_weights(prepared)
    parts = cut(model, phase.frozen) if phase.cached else None
    if parts is not None:
        try:
            features = features_of(parts, _wanted(prepared, augmentation), progress=progress)
        except NoRoomError as err:
            progress.warn(f"Training goes uncached and so slower: {err}.")
        else:
            if features.reused:
                what = "photos" if augmentation is None else "photos and views"
                progress.say(f"Frozen stages: the output of {len(features.array)} {what} is reused from the cache")
            return cached_source(parts, features, photos, weights, augmentation), features
    elif phase.frozen and options.cache:
        why = "moves their batch norms" if prepared.decided.batch_norm == "train" else "mixes pixels"
        which = "--batch-norm train" if prepared.decided.batch_norm == "train" else f"--mix {phase.mix}"
        progress.say(f"Frozen stages are computed in every epoch: {which} {why}, so there is nothing to cache")
    mix = None if phase.mix == "none" else mixer(phase.mix, classes=count, seed=options.seed)
    return pixel_source(model, photos, spec, weights, augmentation, mix), None


def class_weights(prepared: "Prepared") -> np.ndarray:
    """Returns the weight of each class in the loss, `[classes]`."""
    photos, count = prepared.photos, len(prepared.photos.classes)
    if prepared.options.class_weight != "auto":
        return np.ones(count)
    labels = label_array(photos.train, count)
    return multi_label.balanced_weights(labels) if photos.multi_label else metrics.balanced_class_weights(labels, count)


def _wanted(prepared: "Prepared", augmentation: Augmentation | None) -> Wanted:
    photos = prepared.photos
    return Wanted(
        root=photos.root,
        plain=photos.held_out if augmentation is not None else photos.train + photos.held_out,
        viewed=photos.train,
        augmentation=augmentation,
        spec=prepared.spec,
    )


def head_features(prepared: "Prepared", progress: Progress) -> tuple[list[np.ndarray], np.ndarray] | str:
    """Returns what the first phase, which trains the head alone, trains on; the training takes the same from the cache.

    Returns:
        Features of the training photos, one array `[photos, features]` for each view, and those of the validation
        photos; or why there are none.
    """
    phase, photos = prepared.decided.phases[0], prepared.photos
    augmentation = _augmentation(prepared, phase)
    parts = cut(without_auxiliaries(prepared.twin), phase.frozen)
    assert parts is not None  # there are stages
    try:
        features = features_of(parts, _wanted(prepared, augmentation), progress=progress)
    except NoRoomError as err:
        return str(err)
    views = [None] if augmentation is None else range(augmentation.views or 0)
    rows = [features.rows(photos.train, view) for view in views]
    return [np.asarray(features.array[one]) for one in rows], np.asarray(features.array[features.rows(photos.val)])
