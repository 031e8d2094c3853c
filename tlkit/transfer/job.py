"""The part of fine-tuning that needs Keras: build, load, freeze, cache, train, evaluate, save."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import metrics
from tlkit.data.augment import Augmentation
from tlkit.data.pipeline import Pixels
from tlkit.data.split import PhotoSet
from tlkit.errors import TlkitError
from tlkit.models import foreign, foreign_weights, registry
from tlkit.models.architecture import Auxiliaries
from tlkit.models.auxiliary import auxiliaries_for, logits_of, without_auxiliaries
from tlkit.models.imagenet import DownloadError, fetch_imagenet
from tlkit.models.weights import load_weights
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.transfer import results
from tlkit.transfer.features import Features, NoRoomError, Parts, Wanted, cut, features_of
from tlkit.transfer.loop import Training
from tlkit.transfer.options import FinetuneOptions, Plan
from tlkit.transfer.source import Source, cached_source, pixel_source
from tlkit.transfer.training import Schedule, softmax


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model with its weights, ready to be trained on photos. `weights` goes into the manifest."""

    options: FinetuneOptions
    decided: Plan
    photos: PhotoSet
    model: keras.Model
    auxiliaries: Auxiliaries | None
    weights: dict[str, Any]
    augmentation: Augmentation | None


def prepare(options: FinetuneOptions, decided: Plan, photos: PhotoSet, progress: Progress) -> Prepared:
    """Builds the model and loads its weights.

    Raises:
        WeightsError: the weights can't be had, or don't fit. On the embedded digits alone, ImageNet weights that can't
            be had become random ones, with a warning.
    """
    keras.utils.set_random_seed(options.seed)
    architecture = decided.architecture
    auxiliaries = auxiliaries_for(architecture, frozen=decided.frozen, input_size=decided.input_size)
    dropout = 0.2 if options.dropout is None and decided.head == "gap" else options.dropout
    model = registry.build(
        architecture,
        classes=len(photos.classes),
        input_size=decided.input_size,
        head=decided.head,
        **({} if dropout is None else {"dropout": dropout}),
        **({} if auxiliaries is None else {"auxiliaries": True}),
        **decided.builder,
    )
    if auxiliaries is not None:
        progress.say(
            f"{len(model.outputs) - 1} auxiliary classifiers help in training, each with {auxiliaries.loss_weight:g} "
            "of the loss; no file will hold them"
        )
    elif architecture.auxiliaries is not None and architecture.auxiliaries.stage not in decided.frozen:
        least = architecture.auxiliaries.min_input_size
        progress.say(f"Without auxiliary classifiers: they need an input of at least {least} pixels")
    weights = _load(without_auxiliaries(model), decided, progress)
    if decided.frozen or weights["source"] != "none":
        _start_at_zero(model)
    augmentation = None
    if options.augment != "none":
        views = None if decided.views is None else min(decided.views, decided.epochs)  # no epoch sees more
        augmentation = Augmentation(options.augment, views=views, seed=options.seed)
    return Prepared(
        options=options,
        decided=decided,
        photos=photos,
        model=model,
        auxiliaries=auxiliaries,
        weights=weights,
        augmentation=augmentation,
    )


def _start_at_zero(model: keras.Model) -> None:
    """Sets the final layer to zero: every class equally probable.

    What a random start adds to the logits is still there after the few hundred steps of a transfer, as noise.
    """
    layer = model.get_layer("head_logits")
    layer.set_weights([np.zeros(weight.shape, np.float32) for weight in layer.weights])


def _load(model: keras.Model, decided: Plan, progress: Progress) -> dict[str, Any]:
    """Loads what `--weights` asks for; returns the manifest's `weights`."""
    random: dict[str, Any] = {"source": "none", "sha256": None}
    if decided.weights == "none":
        if decided.architecture.foreign:
            foreign.forget()
        if decided.frozen:
            progress.warn(f"--freeze {decided.freeze.text} keeps random weights, as --weights none means.")
        return random
    architecture, path = decided.architecture, Path(decided.weights).expanduser()
    if decided.weights == "base":
        path = Path(architecture.options["base"])
    if decided.weights == "imagenet":
        try:
            path = _fetch(decided, progress)
        except DownloadError as err:
            if decided.own_data:
                raise
            progress.warn(
                f"{err}\nThis is the embedded digits, so it goes on with RANDOM weights: expect a demonstration, "
                "not an accuracy."
            )
            return {**random, "requested": "imagenet"}
    load = foreign_weights.load_weights if architecture.foreign else load_weights
    loaded = load(model, architecture, path)
    if loaded.head:
        progress.say(f"The final layer of {path.name} is not used: these classes may be others")
    source = "imagenet" if decided.weights == "imagenet" else str(path.absolute())
    return {"source": source, "sha256": loaded.sha256, "file": path.name}


def _fetch(decided: Plan, progress: Progress) -> Path:
    """Returns the file of ImageNet weights."""
    architecture, size = decided.architecture, decided.input_size
    if architecture.foreign:
        return foreign_weights.fetch_imagenet(architecture, input_size=size, progress=progress)
    top, width = architecture.takes_top(decided.head), decided.builder.get("width_multiplier", 1.0)
    return fetch_imagenet(architecture, input_size=size, top=top, width_multiplier=width, progress=progress)


def train(
    prepared: Prepared,
    folder: Path,
    spec: PreprocessSpec,
    progress: Progress,
    before_saving: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Trains, or goes on where the run's checkpoint is, evaluates and saves; returns what the manifest learns from it.

    Stopped by Ctrl-C in training, it leaves the best model so far; `schedule.interrupted` tells.
    """
    options, decided, photos, model = prepared.options, prepared.decided, prepared.photos, prepared.model
    pretrained, auxiliaries = prepared.weights["source"] != "none", prepared.auxiliaries
    schedule = Schedule(
        epochs=decided.epochs,
        batch_size=options.batch_size,
        learning_rate=decided.learning_rate,
        patience=options.patience,
    )
    source, features = _source(prepared, spec, progress)
    training = Training(
        source,
        photos,
        schedule,
        frozen=decided.frozen,
        batch_norm_frozen=pretrained,
        auxiliary_weight=0.0 if auxiliaries is None else auxiliaries.loss_weight,
        seed=options.seed,
        folder=folder,
    )
    finished = training.run(progress)
    with source.errors():
        probabilities = softmax(source.held_out_logits())
    if features is not None:
        _check_features(model, photos, spec, probabilities)
    before_saving()
    results.save_labels(folder, photos.classes)
    results.save_history(folder, training.state.rows)
    _save(prepared, folder, spec, probabilities)
    results.save_predictions(folder, photos, probabilities)
    state = training.state
    return {
        "schedule": {
            **schedule.to_dict(),
            "epochs_run": len(state.rows),
            "best_epoch": state.best_epoch,
            "interrupted": not finished,
        },
        "augment": prepared.augmentation.to_dict() if prepared.augmentation is not None else None,
        "freeze": {
            "strategy": decided.freeze.text,
            "frozen_stages": list(decided.frozen),
            "batch_norm": "frozen" if pretrained else "trained where its stage is",
            "cache": None if features is None else ("reused" if features.reused else "computed"),
        },
        "auxiliaries": None if auxiliaries is None else {"loss_weight": auxiliaries.loss_weight},
        "metrics": _evaluate(folder, photos, probabilities),
    }


def _source(prepared: Prepared, spec: PreprocessSpec, progress: Progress) -> tuple[Source, Features | None]:
    """Chooses between cached features and pixels."""
    photos, count, augmentation = prepared.photos, len(prepared.photos.classes), prepared.augmentation
    weights = np.ones(count)
    if prepared.options.class_weight == "auto":
        weights = metrics.balanced_class_weights(np.array([photo.label for photo in photos.train]), count)
    parts: Parts | None = cut(prepared.model, prepared.decided.frozen) if prepared.options.cache else None
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
    return pixel_source(prepared.model, photos, spec, weights, augmentation), None


def _check_features(model: keras.Model, photos: PhotoSet, spec: PreprocessSpec, probabilities: np.ndarray) -> None:
    """Runs the whole model on two photos: what was computed through the cache must come out."""
    pixels = Pixels(photos.root, photos.held_out, spec).load(range(min(2, len(photos.held_out))))
    whole = softmax(inference_once(model, pixels))
    if (difference := np.abs(whole - probabilities[: len(whole)]).max()) > 1e-4:
        raise TlkitError(
            f"The cached features do not belong to this model: probabilities differ by {difference:.2g}. "
            "Train again with --no-cache, and report this."
        )


def _save(prepared: Prepared, folder: Path, spec: PreprocessSpec, probabilities: np.ndarray) -> None:
    """Saves the model; of a base that others made it is checked that what is read again is the same."""

    def check(path: Path) -> None:
        if prepared.decided.architecture.foreign:  # ours are known to come back, and reading takes about a second
            _check_file(path, prepared.photos, spec, probabilities)

    results.save_model(prepared.model, folder, check)


def _check_file(path: Path, photos: PhotoSet, spec: PreprocessSpec, probabilities: np.ndarray) -> None:
    """Reads a saved model again and runs it on two photos: what it was evaluated by must come out."""
    pixels = Pixels(photos.root, photos.held_out, spec).load(range(min(2, len(photos.held_out))))
    saved = keras.saving.load_model(path, compile=False)
    found = keras.ops.convert_to_numpy(saved(pixels.astype(np.float32), training=False))
    if not (difference := np.abs(found - probabilities[: len(found)]).max()) <= 1e-4:
        raise TlkitError(
            f"The saved model does not do what the trained one did: probabilities differ by {difference:.2g}. A layer "
            "of the base keeps what its file does not hold. Use another --base, and report this."
        )


def inference_once(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Returns the model's logits on a few photos without tracing it."""
    return keras.ops.convert_to_numpy(logits_of(model(pixels.astype(np.float32), training=False)))


def _evaluate(folder: Path, photos: PhotoSet, probabilities: np.ndarray) -> dict[str, Any]:
    """Returns metrics by split, and saves the confusion matrix of each."""
    found: dict[str, Any] = {"val": None, "test": None}
    for name, part, rows in (
        ("val", photos.val, probabilities[: len(photos.val)]),
        ("test", photos.test, probabilities[len(photos.val) :]),
    ):
        if part:
            found[name] = results.evaluate(rows, part, photos.classes)
            results.save_confusion(folder, name, rows, part, photos.classes)
    return found
