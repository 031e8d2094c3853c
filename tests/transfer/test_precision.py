"""Half precision in training, float32 in what is saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.convert.export import export
from tlkit.convert.options import ExportOptions
from tlkit.errors import OptionError, TlkitError
from tlkit.manifest import read_manifest
from tlkit.models import registry
from tlkit.models.auxiliary import logits_of
from tlkit.progress import Progress
from tlkit.transfer import training
from tlkit.transfer.features import Wanted, _key, cut
from tlkit.transfer.finetune import finetune, resume
from tlkit.transfer.fused_adam import FusedAdam
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.precision import choose, compare, precision_here
from tlkit.transfer.scaled_adam import ScaledAdam
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.training import compile_for_training
from tlkit.transfer.twin import copy_weights, twin_of

from ..conftest import settled

MIXED = ("mixed_bfloat16", "mixed_float16")


@pytest.mark.parametrize(
    ("capabilities", "tpu", "policy"),
    [
        ((), False, "float32"),
        ((), True, "mixed_bfloat16"),
        (((9, 0),), False, "mixed_bfloat16"),
        (((8, 0), (8, 6)), False, "mixed_bfloat16"),
        (((7, 0),), False, "mixed_float16"),
        (((7, 5), (8, 0)), False, "mixed_float16"),
        (((6, 1),), False, "float32"),
        ((None,), False, "float32"),
    ],
)
def test_auto_takes_what_the_chip_is_fast_in_and_says_why(capabilities, tpu, policy):
    chosen = choose("auto", capabilities, tpu=tpu)
    assert chosen.policy == policy
    assert chosen.why
    assert choose("mixed_bfloat16", (), tpu=False).policy == "mixed_bfloat16"


def test_a_precision_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(OptionError, match="--precision takes auto, float32, mixed_float16 or mixed_bfloat16, not"):
        finetune(FinetuneOptions(base="lenet5", precision="float16", runs=tmp_path))


def test_float16_needs_the_loss_scale_of_tensorflow(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(OptionError, match="--precision mixed_float16 needs Keras' TensorFlow backend, not jax"):
        precision_here("mixed_float16", Progress())
    assert precision_here("auto", Progress()).policy == "float32"


@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v3_small"])
def test_a_twin_computes_in_half_precision_and_gives_float32_logits(name, policy):
    head, size = ("gap", 67) if name == "alexnet" else ("original", 32)
    model = settled(registry.build(name, classes=5, input_size=size, head=head))
    twin = twin_of(model, policy, None)
    assert twin.get_layer("stage2_conv1" if name == "alexnet" else "stem_conv").compute_dtype == policy[6:]
    assert twin.outputs[0].dtype == "float32"
    assert {variable.dtype for variable in twin.trainable_variables} == {"float32"}
    x = np.random.default_rng(0).uniform(0, 255, (4, size, size, 3)).astype(np.float32)
    whole = np.asarray(model(x, training=False))
    half = np.asarray(logits_of(twin(x, training=False)))
    limit = 0.2 if policy == "mixed_bfloat16" else 0.03  # 8 and 11 bits of mantissa, through many layers
    assert 0 < np.abs(half - whole).max() < limit * np.abs(whole).max()
    for weight in twin.weights:
        weight.assign(keras.ops.ones_like(weight))
    copy_weights(twin, model)
    assert all(np.all(np.asarray(weight) == 1) for weight in model.weights)


def dense(policy):
    keras.utils.set_random_seed(0)
    image = keras.Input((6,), name="input_image")
    x = keras.layers.Dense(8, activation="relu", name="stage1_fc")(image)
    return twin_of(keras.Model(image, keras.layers.Dense(3, name="head_logits")(x)), policy, None)


def test_a_step_whose_gradients_overflow_is_skipped_and_halves_the_loss_scale():
    model = dense("mixed_float16")
    schedule = Schedule(epochs=1, batch_size=4, learning_rate=0.01, patience=0)
    compiled = compile_for_training(model, schedule, steps=10)
    adam = compiled.optimizer
    assert isinstance(adam, ScaledAdam)
    assert {"loss_scale", "good_steps"} <= {variable.name for variable in adam.variables}  # in every checkpoint
    batch = np.ones((4, 6), np.float32), np.array([0, 1, 2, 0]), np.ones(4, np.float32)
    compiled.train_on_batch(*batch)
    assert (float(adam.scale), int(adam.good_steps), int(adam.iterations)) == (2.0**15, 1, 1)
    adam.scale.assign(2.0**40)
    before = [np.asarray(variable) for variable in (*model.weights, *adam._momentums, *adam._velocities)]
    compiled.train_on_batch(*batch)
    after = [np.asarray(variable) for variable in (*model.weights, *adam._momentums, *adam._velocities)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert (float(adam.scale), int(adam.good_steps), int(adam.iterations)) == (2.0**39, 0, 1)
    adam.scale.assign(2.0**10)
    adam.good_steps.assign(ScaledAdam.GROWTH_STEPS - 1)
    compiled.train_on_batch(*batch)
    assert (float(adam.scale), int(adam.good_steps), int(adam.iterations)) == (2.0**11, 0, 2)


def test_the_loss_scale_changes_no_update(monkeypatch):
    """On a float32 network, where nothing but the scale differs."""
    moved = []
    for adam in (FusedAdam, ScaledAdam):
        monkeypatch.setattr(training, "adam_for", lambda model, adam=adam, **options: adam(**options))
        model = dense("float32")
        schedule = Schedule(epochs=1, batch_size=4, learning_rate=0.01, patience=0)
        compiled = compile_for_training(model, schedule, steps=10)
        assert type(compiled.optimizer) is adam
        x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
        for _ in range(5):
            compiled.train_on_batch(x, np.array([0, 1, 2, 0]), np.ones(4, np.float32))
        moved.append([np.asarray(weight) for weight in model.weights])
    assert all(np.abs(a - b).max() < 1e-6 for a, b in zip(*moved, strict=True))


def test_features_are_cached_for_each_precision_apart(tmp_path):
    from tlkit.preprocess import PreprocessSpec

    model = registry.build("lenet5", head="gap")
    wanted = Wanted(root=tmp_path, plain=[], spec=PreprocessSpec(input_size=28))
    keys = {_key(cut(twin_of(model, policy, None), ("stage1",)), wanted) for policy in ("float32", *MIXED)}
    assert len(keys) == 3


def test_a_float32_model_that_does_something_else_is_an_error():
    ones = np.tile([1.0, 0.0], (10, 1))
    assert compare(ones, ones, "mixed_float16").top1_agreement == 1
    with pytest.raises(
        TlkitError, match="probabilities differ by 1 on average, and 0.01 is what mixed_float16 explains"
    ):
        compare(ones, 1 - ones, "mixed_float16")


@pytest.mark.slow
@pytest.mark.parametrize("policy", MIXED)
def test_a_mixed_training_leaves_a_float32_run(policy, tmp_path):
    said = []

    class Listening(Progress):
        def say(self, text):
            said.append(text)

    options = FinetuneOptions(base="lenet5", epochs=10, precision=policy, runs=tmp_path / "runs", learning_rate=0.005)
    run = finetune(options, Listening())
    manifest = read_manifest(run)
    assert manifest["metrics"]["test"]["accuracy"] > 0.9
    recorded = manifest["precision"]
    assert (recorded["trained"], recorded["saved"]) == (policy, "float32")
    assert recorded["agreement"]["images"] == 538
    assert recorded["agreement"]["top1_agreement"] > 0.98
    assert any(text.startswith("Rebuilt in float32") for text in said)
    model = keras.saving.load_model(run / "model.keras", compile=False)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    made = export(run, ExportOptions())  # its gate: probabilities of predictions.npz to 1e-4
    assert made["parity"]["max_probability_difference"] <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("base", ["keras:MobileNetV3Small", "own"])
def test_a_mixed_training_of_another_base_leaves_a_float32_run(base, tmp_path, make_folder):
    size = 32
    if base == "own":
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((size, size, 3)),
                layers.Rescaling(1 / 255),
                layers.Conv2D(8, 3, strides=2, activation="relu"),
                layers.Conv2D(8, 3, strides=2, activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(3, activation="softmax"),
            ]
        )
        base = tmp_path / "own.keras"
        model.save(base)
    options = {"freeze": "last:1", "epochs": 2, "batch_size": 8, "input_size": size, "precision": "mixed_bfloat16"}
    options |= {"weights": "none"} if str(base).startswith("keras:") else {}
    run = finetune(FinetuneOptions(base=base, data=make_folder(), runs=tmp_path / "runs", **options))
    saved = keras.saving.load_model(run / "model.keras", compile=False)
    assert {layer.dtype_policy.name for layer in saved.layers} == {"float32"}
    assert read_manifest(run)["precision"]["trained"] == "mixed_bfloat16"


@pytest.mark.slow
def test_a_mixed_training_of_cached_features_goes_on_where_it_was(tmp_path, make_folder, monkeypatch):
    from tlkit.transfer import checkpoint, loop

    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    monkeypatch.setattr(checkpoint, "_SHARE", 0.0)
    common = {
        "base": "lenet5",
        "weights": "none",
        "freeze": "up-to:stage1",
        "data": make_folder(),
        "precision": "mixed_float16",
        "epochs": 4,
        "batch_size": 8,
        "patience": 0,
        "runs": tmp_path / "runs",
    }
    whole = finetune(FinetuneOptions(name="whole", **common))
    real, done = loop.Training._save, []

    class Killed(BaseException):
        pass

    def killed(self, progress, *, force):
        real(self, progress, force=force)
        done.append(1)
        if len(done) == 5:
            raise Killed

    monkeypatch.setattr(loop.Training, "_save", killed)
    with pytest.raises(Killed):
        finetune(FinetuneOptions(name="killed", **common))
    monkeypatch.setattr(loop.Training, "_save", real)
    resume("killed", tmp_path / "runs", {})
    ends = [keras.saving.load_model(tmp_path / "runs" / n / "model.keras", compile=False) for n in ("whole", "killed")]
    weights = [model.get_layer("head_logits").get_weights() for model in ends]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    assert read_manifest(whole)["freeze"]["unmoved"]
    assert tf.config.list_logical_devices("CPU")
