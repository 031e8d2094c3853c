"""The part of fine-tuning that needs Keras: build, load, decide, train, check, evaluate, save."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import multi_label
from tlkit.data.multi_label import label_array
from tlkit.data.pipeline import Pixels
from tlkit.data.split import PhotoSet
from tlkit.errors import TlkitError
from tlkit.lazy import without_tensorflow
from tlkit.manifest import read_manifest
from tlkit.models import foreign, foreign_weights, registry
from tlkit.models.architecture import Auxiliaries
from tlkit.models.auxiliary import auxiliaries_for, without_auxiliaries
from tlkit.models.imagenet import DownloadError, fetch_imagenet
from tlkit.models.weights import load_weights
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.transfer import auto, devices, phases, precision, results
from tlkit.transfer.backend import can_augment
from tlkit.transfer.inference import inference_once
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import Choice, Plan, plan
from tlkit.transfer.start import grown_model
from tlkit.transfer.training import probabilities_of
from tlkit.transfer.twin import twin_of
from tlkit.transfer.unmoved import check_unmoved, fingerprints


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model with its weights, ready to be trained on photos. `weights` goes into the manifest.

    Attributes:
        model: In float32, on one device: what is saved.
        twin: What is trained, and gives its weights to `model`; see `twin_of`.
        precision: Of the twin.
    """

    options: FinetuneOptions
    decided: Plan
    photos: PhotoSet
    model: keras.Model
    twin: keras.Model
    precision: precision.Precision
    auxiliaries: Auxiliaries | None
    weights: dict[str, Any]
    callbacks: tuple[keras.callbacks.Callback, ...] = ()

    @property
    def spec(self) -> PreprocessSpec:
        """How a photo becomes pixels."""
        return self.decided.spec


@without_tensorflow()
def prepare(options: FinetuneOptions, decided: Plan, photos: PhotoSet, progress: Progress) -> Prepared:
    """Builds the model, loads its weights, and decides what `--freeze auto` leaves to the photos.

    Raises:
        WeightsError: the weights can't be had, or don't fit. On the embedded digits alone, ImageNet weights that can't
            be had become random ones, with a warning.
    """
    keras.utils.set_random_seed(options.seed)
    if options.parent is not None:
        return _grown(options, decided, photos, progress)
    architecture = decided.architecture
    frozen = () if decided.undecided else decided.frozen
    auxiliaries = auxiliaries_for(architecture, frozen=frozen, input_size=decided.input_size)
    dropout = 0.2 if options.dropout is None and decided.head == "gap" else options.dropout
    chosen: dict[str, Any] = {
        **({} if dropout is None else {"dropout": dropout}),
        **({} if auxiliaries is None else {"auxiliaries": True}),
        **decided.builder,
    }
    model = registry.build(
        architecture,
        classes=len(photos.classes),
        input_size=decided.input_size,
        head=decided.head,
        **chosen,
    )
    weights = _load(without_auxiliaries(model), decided, progress)
    if decided.frozen or weights["source"] != "none":
        _start_at_zero(model, photos)
    prepared = _with_twin(options, decided, photos, progress, model=model, auxiliaries=auxiliaries, weights=weights)
    if decided.undecided:
        prepared = _decide(prepared, progress)
    _say_of_auxiliaries(prepared, progress)
    pretrained = prepared.weights["source"] != "none"
    if pretrained and not (prepared.decided.frozen or prepared.options.augment or can_augment()):
        progress.say("Without augmentation, which needs the TensorFlow backend")
    return prepared


def _with_twin(
    options: FinetuneOptions,
    decided: Plan,
    photos: PhotoSet,
    progress: Progress,
    *,
    model: keras.Model,
    auxiliaries: Auxiliaries | None,
    weights: dict[str, Any],
) -> Prepared:
    """Makes what is trained in the model's place: on the devices and in the precision that were asked for."""
    strategy = devices.strategy_for(options.devices)
    chosen = precision.precision_here(options.precision, progress)
    return Prepared(
        options=options,
        decided=decided,
        photos=photos,
        model=model,
        twin=twin_of(model, chosen.policy, strategy),
        precision=chosen,
        auxiliaries=auxiliaries,
        weights=weights,
    )


def _grown(options: FinetuneOptions, decided: Plan, photos: PhotoSet, progress: Progress) -> Prepared:
    """Goes on from the model of another run."""
    path = Path(decided.weights)
    model, weights = grown_model(path, old=len(read_manifest(path.parent)["classes"]), classes=len(photos.classes))
    foreign.forget()
    prepared = _with_twin(options, decided, photos, progress, model=model, auxiliaries=None, weights=weights)
    return _decide(prepared, progress) if decided.undecided else prepared


def _decide(prepared: Prepared, progress: Progress) -> Prepared:
    """Settles what was left to the photos."""
    if prepared.weights["source"] == "none":
        choice = Choice(strategy="none", why="the weights are random")
    else:
        choice = auto.choose(prepared, progress)
    decided = plan(prepared.options, choice)
    stages, auxiliaries = prepared.decided.architecture.stages, prepared.auxiliaries
    if auxiliaries is not None and auxiliaries.stage in decided.frozen:
        auxiliaries = None
    progress.say(f"--freeze auto: {choice.strategy}, {decided.epochs} epochs: {choice.why}")
    if decided.frozen != stages and prepared.photos.train:
        progress.say("To train the head alone, which is much faster: --freeze all-but-head")
    return replace(prepared, decided=decided, auxiliaries=auxiliaries)


def _say_of_auxiliaries(prepared: Prepared, progress: Progress) -> None:
    wanted, taken = prepared.decided.architecture.auxiliaries, prepared.auxiliaries
    if taken is not None:
        progress.say(
            f"{len(prepared.model.outputs) - 1} auxiliary classifiers help in training, each with "
            f"{taken.loss_weight:g} of the loss; no file will hold them"
        )
    elif wanted is not None and wanted.stage not in prepared.decided.frozen:
        progress.say(f"Without auxiliary classifiers: they need an input of at least {wanted.min_input_size} pixels")


def _start_at_zero(model: keras.Model, photos: PhotoSet) -> None:
    """Sets the final layer to zero: every class equally probable, or with multi-label as probable as frequent.

    What a random start adds to the logits is still there after the few hundred steps of a transfer, as noise.
    """
    layer = model.get_layer("head_logits")
    values = [np.zeros(weight.shape, np.float32) for weight in layer.weights]
    if photos.multi_label:
        values[-1][:] = multi_label.prior_logits(label_array(photos.train, len(photos.classes)))
    layer.set_weights(values)


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


@without_tensorflow()
def train(
    prepared: Prepared, folder: Path, progress: Progress, before_saving: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Trains, or goes on where the run's checkpoint is, evaluates and saves; returns what the manifest learns from it.

    Stopped by Ctrl-C in training, it leaves the best model so far; `schedule.interrupted` tells.
    """
    decided, photos, model = prepared.decided, prepared.photos, prepared.model
    batch_norms = decided.batch_norm != "train"
    pretrained = fingerprints(model, decided.frozen, batch_norms=batch_norms)
    trained = phases.train(prepared, folder, progress)
    check_unmoved(pretrained, model, batch_norms=batch_norms)
    probabilities = probabilities_of(trained.source.held_out_logits(), multi_label=photos.multi_label)
    agreement = None
    if prepared.precision.mixed:
        probabilities, agreement = precision.verified(prepared, probabilities, progress)
    elif trained.features is not None:
        whole = probabilities_of(inference_once(model, _two(prepared)), multi_label=photos.multi_label)
        _check_same(
            whole,
            probabilities,
            "The cached features do not belong to this model",
            "Train again with --no-cache, and report this.",
        )
    before_saving()
    results.save_labels(folder, photos.classes)
    results.save_history(folder, trained.state.rows)
    _save(prepared, folder, probabilities)
    results.save_predictions(folder, photos, probabilities)
    auxiliaries, chosen = prepared.auxiliaries, results.choose_thresholds(photos, probabilities)
    return {
        **chosen,
        "schedule": trained.to_dict(),
        "augment": trained.augment,
        "freeze": {
            **decided.to_freeze(),
            "unmoved": pretrained,
            "cache": None if trained.features is None else ("reused" if trained.features.reused else "computed"),
        },
        "precision": precision.record(prepared.precision, agreement),
        "auxiliaries": None if auxiliaries is None else {"loss_weight": auxiliaries.loss_weight},
        "suspects": results.count_suspects(photos, probabilities),
        "metrics": results.evaluate_splits(folder, photos, probabilities, **chosen),
    }


def _save(prepared: Prepared, folder: Path, probabilities: np.ndarray) -> None:
    """Saves the model; of a base that others made it is checked that what is read again is the same."""

    def check(path: Path) -> None:
        if prepared.decided.architecture.foreign:  # ours are known to come back, and reading takes about a second
            saved = keras.saving.load_model(path, compile=False)
            _check_same(
                keras.ops.convert_to_numpy(saved(_two(prepared), training=False)),
                probabilities,
                "The saved model does not do what the trained one did",
                "A layer of the base keeps what its file does not hold. Use another --base, and report this.",
            )

    results.save_model(prepared.model, folder, check, multi_label=prepared.photos.multi_label)


def _two(prepared: Prepared) -> np.ndarray:
    """Returns the pixels of two photos that were held out, as float32."""
    photos = prepared.photos
    pixels = Pixels(photos.root, photos.held_out, prepared.spec)
    return pixels.load(range(min(2, len(photos.held_out)))).astype(np.float32)


def _check_same(found: np.ndarray, expected: np.ndarray, wrong: str, remedy: str) -> None:
    """Compares the probabilities of two photos with what the run is evaluated by."""
    if not (difference := np.abs(found - expected[: len(found)]).max()) <= 1e-4:
        raise TlkitError(f"{wrong}: probabilities differ by {difference:.2g}. {remedy}")
