"""Bases that others made go the same way as ours: freeze, cache, train, resume, predict, evaluate, export."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers

import tlkit
from tlkit.cli.main import cli
from tlkit.errors import BaseError, OptionError, TlkitError, UnknownNameError, WeightsError
from tlkit.manifest import read_manifest, sha256_of
from tlkit.models import constructors
from tlkit.transfer import checkpoint, loop, training
from tlkit.transfer.finetune import finetune, resume
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan

from ..conftest import photo, settled
from .test_finetune import Told

SMALL = "keras:MobileNetV3Small"


def mine(path, scale=1 / 255, seed=0):
    """A model of a user's own, with weights, at `path`."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((32, 32, 3))
    x = image if scale is None else layers.Rescaling(scale)(image)
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    settled(keras.Model(image, x)).save(path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in a file: what pretrained ones are to the code."""
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    keras.utils.set_random_seed(1)
    settled(constructors.build("MobileNetV3Small", 32)).save_weights(path)
    return path


@pytest.fixture
def options(make_folder, tmp_path):
    """Options of a short training on photos whose colour tells their class."""
    data = make_folder(each=16)

    def make(base, **values):
        common = {"data": data, "epochs": 2, "runs": tmp_path / "runs", "batch_size": 16}
        if str(base).startswith("keras:"):
            common["input_size"] = 32
        return FinetuneOptions(**{"base": base, **common, **values})

    return make


def test_a_constructor_is_frozen_and_cached_by_the_stages_of_its_graph(options, weights):
    first = finetune(options(SMALL, weights=weights, freeze="up-to:stage3", name="a"))
    again = finetune(options(SMALL, weights=weights, freeze="up-to:stage3", learning_rate=1e-3, name="b"))
    manifest = read_manifest(first)
    assert (manifest["freeze"]["cache"], read_manifest(again)["freeze"]["cache"]) == ("computed", "reused")
    assert manifest["base"] == SMALL and manifest["base_options"] == {"base": SMALL}
    assert manifest["stages"] == [f"stage{i}" for i in range(1, 6)]
    assert manifest["freeze"]["frozen_stages"] == ["stage1", "stage2", "stage3"]
    assert manifest["weights"]["sha256"] == sha256_of(weights) and manifest["weights"]["file"] == weights.name
    model, original = keras.saving.load_model(first / "model.keras"), constructors.build("MobileNetV3Small", 32)
    original.load_weights(weights)
    for name, moved in (("expanded_conv_1_depthwise", False), ("conv_1", True)):
        ours = next(layer for layer in model.layers if layer.name.partition("_")[2] == name)
        assert np.array_equal(ours.get_weights()[0], original.get_layer(name).get_weights()[0]) != moved


def test_cached_features_depend_on_the_weights_and_the_graph(options, tmp_path):
    def cache(path, **values):
        folder = finetune(options(path, base_input="0..1", freeze="all-but-head", **values))
        return read_manifest(folder)["freeze"]["cache"]

    one = mine(tmp_path / "one.keras", scale=None)
    assert cache(one) == "computed"
    shutil.copy(one, tmp_path / "copy.keras")
    assert cache(tmp_path / "copy.keras") == "reused"
    assert cache(mine(tmp_path / "other.keras", scale=None, seed=5)) == "computed"
    assert cache(mine(tmp_path / "scaled.keras", scale=0.5)) == "computed"


def test_last_n_and_random_weights(options):
    decided = plan(options(SMALL, weights="none", freeze="last:1"))
    assert decided.frozen == ("stage1", "stage2", "stage3", "stage4")
    told = Told()
    folder = finetune(options(SMALL, weights="none", freeze="last:1", epochs=1), told)
    assert read_manifest(folder)["weights"] == {"source": "none", "sha256": None}
    assert "--freeze last:1 keeps random weights, as --weights none means." in told.lines
    assert folder.name.endswith("-keras-MobileNetV3Small-photos")
    assert plan(options(SMALL, weights="none")).frozen == ()


def test_a_users_model_keeps_its_weights_and_learns(options, tmp_path):
    path, told = mine(tmp_path / "my model.keras"), Told()
    folder = finetune(options(path, freeze="up-to:stage1", epochs=20, learning_rate=1e-2), told)
    manifest = read_manifest(folder)
    assert manifest["base"] == "my model.keras" and folder.name.endswith("-my-model-keras-photos")
    assert manifest["weights"] == {"source": str(path), "sha256": sha256_of(path), "file": path.name}
    assert manifest["base_options"] == {"base": str(path), "base_input": None, "sha256": sha256_of(path)}
    assert manifest["stages"] == ["stage1", "stage2"]
    assert any("the classifier is replaced, that is global_average_pooling2d" in line for line in told.lines)
    ours, theirs = (keras.saving.load_model(p) for p in (folder / "model.keras", path))
    kernels = [next(x for x in m.layers if isinstance(x, layers.Conv2D)).get_weights()[0] for m in (ours, theirs)]
    assert np.array_equal(*kernels)
    assert manifest["metrics"]["val"]["accuracy"] > 0.6


def test_a_saved_model_that_is_another_is_refused(options, tmp_path, monkeypatch):
    path, real = mine(tmp_path / "mine.keras"), keras.saving.load_model

    def other(name, **rest):
        model = real(name, **rest)
        if "probabilities" in [layer.name for layer in model.layers]:
            model.get_layer("head_logits").bias.assign([9.0, 0.0, 0.0])
        return model

    monkeypatch.setattr(keras.saving, "load_model", other)
    with pytest.raises(TlkitError, match="saved model does not do what the trained one did: probabilities differ by"):
        finetune(options(path, epochs=1))
    assert not list((tmp_path / "runs").glob("*/model.keras"))


def test_a_users_model_can_begin_anew(options, tmp_path):
    path = mine(tmp_path / "mine.keras")
    manifest = read_manifest(finetune(options(path, weights="none", epochs=1)))
    assert manifest["weights"] == {"source": "none", "sha256": None}
    assert manifest["base_options"]["sha256"] == sha256_of(path)
    assert manifest["freeze"]["frozen_stages"] == []
    for weights in ("imagenet", str(path)):
        with pytest.raises(OptionError, match="mine.keras brings its own weights"):
            plan(options(path, weights=weights))


def test_wrong_options_are_told_before_anything_is_read(options, tmp_path):
    with pytest.raises(UnknownNameError, match=r"no stage 'stage9'.*stage1, stage2, stage3, stage4, stage5"):
        plan(options(SMALL, freeze="up-to:stage9"))
    with pytest.raises(OptionError, match="last:N takes a number from 1 to 5 here, not '6'"):
        plan(options(SMALL, freeze="last:6"))
    with pytest.raises(OptionError, match="keras:MobileNetV3Small is taken without its classifier"):
        plan(options(SMALL, head="original"))
    with pytest.raises(OptionError, match=r"has no width multiplier .0.5 was given.*mobilenet_v2"):
        plan(options(SMALL, width=0.5))
    with pytest.raises(OptionError, match="what keras:MobileNetV3Small takes is known"):
        plan(options(SMALL, base_input="0..1"))
    with pytest.raises(WeightsError, match="There is no weights file"):
        finetune(options(SMALL, weights=tmp_path / "absent.h5"))
    with pytest.raises(BaseError, match="There is no model"):
        plan(options(tmp_path / "absent.keras"))
    assert not (tmp_path / "runs").exists()


def test_on_the_digits_the_smallest_size_is_taken():
    assert plan(FinetuneOptions(base="keras:Xception")).input_size == 71
    assert plan(FinetuneOptions(base=SMALL)).input_size == 32


def interrupted(monkeypatch, made, steps=4):
    """Trains and dies after some steps."""
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    monkeypatch.setattr(checkpoint, "_SHARE", 0.0)
    compiled = training.compile_for_training

    def dying(*args, **named):
        found, count = compiled(*args, **named), iter(range(steps))
        real = found.train_on_batch

        def step(*batch):
            if next(count, None) is None:
                raise MemoryError("killed")
            return real(*batch)

        return replace(found, train_on_batch=step)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "compile_for_training", dying)
        with pytest.raises(MemoryError):
            finetune(made)


@pytest.mark.parametrize("freeze", ["last:1", pytest.param("none", marks=pytest.mark.slow)])
def test_a_constructors_training_goes_on(options, weights, monkeypatch, freeze):
    values = {"weights": weights, "freeze": freeze, "epochs": 3}
    whole = finetune(options(SMALL, name="whole", **values))
    interrupted(monkeypatch, options(SMALL, name="broken", **values))
    broken = resume("broken", whole.parent, {"base": SMALL})
    for one, other in zip(
        *(keras.saving.load_model(run / "model.keras").weights for run in (whole, broken)), strict=True
    ):
        assert np.allclose(one, other, atol=1e-6)


def test_a_users_models_training_goes_on_unless_its_file_changed(options, monkeypatch, tmp_path):
    path = mine(tmp_path / "mine.keras")
    monkeypatch.chdir(tmp_path)
    interrupted(monkeypatch, options("mine.keras", weights="none", name="a"))
    monkeypatch.chdir("/")
    whole = path.read_bytes()
    mine(path, seed=3)
    with pytest.raises(BaseError, match="The model that .*runs/a was begun with has changed: .*mine.keras"):
        resume("a", tmp_path / "runs", {})
    path.write_bytes(whole)
    with pytest.raises(OptionError, match="begun with --base .*mine.keras, not keras:VGG16"):
        resume("a", tmp_path / "runs", {"base": "keras:VGG16"})
    folder = resume("a", tmp_path / "runs", {"base": str(path)})
    assert read_manifest(folder)["status"] == "complete"


def test_a_constructors_run_predicts_evaluates_and_exports(options, weights, tmp_path):
    made = options(SMALL, weights=weights, freeze="all-but-head", epochs=1)
    run = tlkit.Run(finetune(made))
    photo(1).save(tmp_path / "photo.png")
    assert len(run.predict(tmp_path / "photo.png", top=3)[0].top) == 3
    assert run.evaluate().accuracy == pytest.approx(run.manifest["metrics"]["test"]["accuracy"])
    entry = run.export("tflite", "float32")
    assert entry["parity"]["top1_agreement"] == 1.0 and (run.folder / entry["path"]).is_file()
    listed = CliRunner().invoke(cli, ["runs", "--json", "--runs", str(made.runs)])
    assert json.loads(listed.stdout)[0]["base"] == SMALL


@pytest.mark.slow
@pytest.mark.parametrize("base", ["keras:EfficientNetV2B0", SMALL])
def test_constructors_learn_from_nothing_and_are_exported_with_proof(tmp_path, base):
    run = tlkit.finetune(base=base, weights="none", runs=tmp_path, epochs=6)
    assert run.manifest["metrics"]["test"]["accuracy"] > 0.9  # so batch norms follow as fast as in our own
    for precision in ("float32", "int8"):
        entry = run.export("tflite", precision)
        assert entry["parity"]["images"] == 538 and (run.folder / entry["path"]).is_file()


def test_build_takes_them_too(weights, tmp_path):
    model = tlkit.build(SMALL, classes=4, input_size=32, weights=weights, head="gap", dropout=0.5)
    assert model.output.shape == (None, 4) and model.get_layer("head_dropout").rate == 0.5
    path = mine(tmp_path / "mine.keras", scale=None)
    assert tlkit.build(str(path), classes=4, head="gap", weights="base", base_input="0..1").input.shape == (
        None,
        32,
        32,
        3,
    )
    with pytest.raises(OptionError, match="no original head"):
        tlkit.build(SMALL)


# --- width


@pytest.mark.slow
def test_a_width_multiplier_trains_is_recorded_and_goes_on(options, monkeypatch):
    made = options("mobilenet_v2", width=0.35, input_size=32, name="narrow", epochs=3, weights="none")
    interrupted(monkeypatch, made)
    manifest = read_manifest(resume("narrow", made.runs, {"width": 0.35}))
    assert manifest["options"]["width"] == 0.35 and manifest["base_options"] == {"width_multiplier": 0.35}
    model = keras.saving.load_model(made.runs / "narrow" / "model.keras")
    assert model.get_layer("stage5_block4_project").filters == 112
    with pytest.raises(OptionError, match="begun with --width 0.35, not 0.5"):
        resume("narrow", made.runs, {"width": 0.5})


def test_a_width_is_planned():
    assert plan(FinetuneOptions(base="mobilenet_v2", width=0.35)).builder == {"width_multiplier": 0.35}
    assert plan(FinetuneOptions(base="mobilenet_v2")).builder == {}


def test_a_width_is_checked(options, tmp_path):
    with pytest.raises(OptionError, match=r"vgg16 has no width multiplier .0.5 was given.*mobilenet_v2"):
        plan(options("vgg16", width=0.5))
    for width in (0.0, -1.0, 99.0, float("nan")):
        with pytest.raises(OptionError, match="A width multiplier is more than 0 and at most 4, not"):
            plan(options("mobilenet_v2", width=width))
    with pytest.raises(WeightsError, match="no ImageNet weights of width 0.6 for"):
        finetune(options("mobilenet_v2", width=0.6, input_size=32))
    result = CliRunner().invoke(cli, ["finetune", "--base", "vgg16", "--width", "0.5"])
    assert isinstance(result.exception, OptionError)


@pytest.mark.real_data
def test_weights_of_another_width_are_refused(options, weights_v2):
    with pytest.raises(WeightsError, match="is not for .*mobilenet_v2 but for MobileNetV2 of width 1"):
        finetune(options("mobilenet_v2", width=0.5, input_size=32, weights=weights_v2))


@pytest.mark.real_data
def test_real_weights_of_half_the_width_tell_ants_from_bees(shared, tmp_path):
    weights = shared / "weights" / "mobilenet_v1_0.5_160_imagenet.weights.h5"
    values = {"width": 0.5, "input_size": 160, "weights": weights, "epochs": 10, "runs": tmp_path}
    run = tlkit.finetune(shared / "data" / "ants_bees", base="mobilenet_v1", **values)
    assert run.manifest["metrics"]["test"]["images"] == 153
    assert run.manifest["metrics"]["test"]["accuracy"] > 0.85  # 0.915 with seed 0; chance is 0.54
