"""LeNet, AlexNet and VGG against the lectures' tables and keras.applications."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.convert import tflite_file
from tlkit.convert.calibration import Calibration
from tlkit.convert.tflite_runtime import TfliteModel
from tlkit.convert.to_tflite import tflite_from_keras
from tlkit.errors import OptionError, UnknownNameError
from tlkit.models import registry, vgg
from tlkit.models.alexnet import alexnet
from tlkit.models.lenet import lenet5
from tlkit.models.lrn import LocalResponseNormalization
from tlkit.models.resnet import variant_of as resnet_of
from tlkit.transfer.freeze import stage_of

from ..conftest import ROOT
from .parity import carry
from .test_architectures import photos, randomized


def shapes(model):
    return {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}


def parameters(model):
    return [layer.count_params() for layer in model.layers if layer.weights]


# --- LeNet-5


def test_lenet_without_padding_takes_32_pixels_and_has_the_same_maps_and_parameters():
    found, padded = registry.build("lenet5_32", classes=10), registry.build("lenet5", classes=10)
    assert found.input.shape[1:] == (32, 32, 3)
    assert parameters(found) == parameters(padded) == [156, 2416, 48120, 10164, 850]
    for name in ("stage1_conv", "stage1_pool", "stage2_conv", "stage2_pool"):
        assert shapes(found)[name] == shapes(padded)[name]
    with pytest.raises(OptionError, match="lenet5_32 with its original head takes 32 pixels only, not 28"):
        registry.build("lenet5_32", input_size=28)


def test_lenet_on_28_pixels_is_that_on_32_with_a_border():
    padded, whole = registry.build("lenet5", classes=10), registry.build("lenet5_32", classes=10)
    whole.set_weights(padded.get_weights())
    x = photos(28)
    framed = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    assert np.abs(whole(framed).numpy() - padded(x).numpy()).max() < 1e-6


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_lenets_activation_is_that_of_every_layer_but_the_last(activation):
    model = registry.build("lenet5", activation=activation)
    own = [layer.activation.__name__ for layer in model.layers if layer.weights]
    assert own == [activation] * 4 + ["linear"]


@pytest.mark.parametrize(("pooling", "reduce"), [("average", np.mean), ("max", np.max)])
def test_lenet_pools_as_asked(pooling, reduce):
    model = registry.build("lenet5", pooling=pooling)
    outputs = [model.get_layer(f"stage1_{part}").output for part in ("conv", "pool")]
    maps, pooled = (part.numpy() for part in keras.Model(model.input, outputs)(photos(28)))
    assert np.abs(pooled - reduce(maps.reshape(-1, 14, 2, 14, 2, 6), axis=(2, 4))).max() < 1e-6


def test_lenet_knows_two_poolings():
    with pytest.raises(OptionError, match="LeNet-5 pools by average or max, not by 'median'"):
        lenet5(pooling="median")


@pytest.mark.parametrize(("pooling", "activation", "same"), [("max", "relu", True), ("average", "relu", False)])
def test_lenet_activates_after_pooling_where_asked(pooling, activation, same):
    """An activation that only rises goes through a maximum, and not through a mean."""
    before = registry.build("lenet5", pooling=pooling, activation=activation)
    after = registry.build("lenet5", pooling=pooling, activation=activation, activate_after_pooling=True)
    stages = [layer.name for layer in after.layers if stage_of(layer.name) == "stage1"]
    assert stages == ["stage1_conv", "stage1_pool", f"stage1_{activation}"]
    after.set_weights(before.get_weights())
    difference = np.abs(after(photos(28)).numpy() - before(photos(28)).numpy()).max()
    assert (difference < 1e-6) == same


def test_the_lectures_worked_example_has_its_activation_sizes_and_parameters():
    model = registry.build("lenet5_rgb", classes=10)
    names = ("stage1_conv", "stage1_pool", "stage2_conv", "stage2_pool", "head_fc1", "head_fc2", "head_logits")
    sizes = [int(np.prod(shapes(model)[name])) for name in ("input_image", *names)]
    assert sizes == [3072, 6272, 1568, 1600, 400, 120, 84, 10]
    counts = [model.get_layer(name).count_params() for name in names]
    assert counts == [608, 0, 3216, 0, 48120, 10164, 850]
    assert sum(counts) == model.count_params() == 62_958


def test_the_worked_example_sees_colours():
    model = registry.build("lenet5_rgb", classes=10)
    seen = keras.Model(model.input, model.get_layer("stage1_conv").input)(photos(32)).numpy()
    assert np.abs(seen - photos(32) / 255).max() < 1e-6


# --- AlexNet

ALEXNET = [34_944, 614_656, 885_120, 1_327_488, 884_992, 37_752_832, 16_781_312, 4_097_000]


def test_alexnet_has_the_lectures_table():
    model = registry.build("alexnet")
    assert parameters(model) == ALEXNET
    assert sum(ALEXNET) == 62_378_344
    maps = [shape for name, shape in shapes(model).items() if re.fullmatch(r"stage\d_(conv\d|pool)", name)]
    assert maps == [
        (55, 55, 96),
        (27, 27, 96),
        (27, 27, 256),
        (13, 13, 256),
        (13, 13, 384),
        (13, 13, 384),
        (13, 13, 256),
        (6, 6, 256),
    ]
    assert shapes(model)["head_flatten"] == (9216,)
    pools = [layer for layer in model.layers if layer.name.endswith("_pool")]
    assert {(layer.pool_size, layer.strides, layer.padding) for layer in pools} == {((3, 3), (2, 2), "valid")}


def test_alexnets_two_towers_divide_the_second_fourth_and_fifth_convolution():
    model = alexnet(groups=2)
    assert model.count_params() == 60_965_224
    depths = [layer.kernel.shape[2] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert depths == [3, 48, 256, 192, 192]


def test_alexnets_second_tower_does_not_see_the_first():
    model = alexnet(groups=2, head="gap", input_size=67)
    convolution = model.get_layer("stage2_conv1")
    x = np.random.default_rng(0).normal(size=(1, 7, 7, 96)).astype(np.float32)
    changed = x.copy()
    changed[..., :48] = 0
    moved = np.abs(convolution(x).numpy() - convolution(changed).numpy()).max(axis=(0, 1, 2)) > 1e-6
    assert moved[:128].mean() > 0.9
    assert not moved[128:].any()


def test_alexnet_owt_has_torchvisions_maps_and_order():
    model = registry.build("alexnet_owt")
    filters = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert filters == [64, 192, 384, 256, 256]
    assert [shapes(model)[f"stage{i}_pool"] for i in (1, 2, 3)] == [(27, 27, 64), (13, 13, 192), (6, 6, 256)]
    assert [layer.name for layer in model.layers if stage_of(layer.name) == "head"] == [
        "head_flatten",
        "head_dropout1",
        "head_fc1",
        "head_dropout2",
        "head_fc2",
        "head_logits",
    ]


def test_alexnet_owt_pads_its_input_with_what_the_mean_becomes():
    """As in torchvision, the border is zero after normalization, and the same on all sides."""
    model = registry.build("alexnet_owt", head="gap", input_size=63)
    seen = keras.Model(model.input, model.get_layer("stage1_conv1").input)(np.full((1, 63, 63, 3), 255.0)).numpy()
    assert seen.shape == (1, 67, 67, 3)
    inside = seen[:, 2:-2, 2:-2]
    assert inside.min() > 2
    assert np.isclose(inside.sum(), seen.sum())


def test_alexnet_has_dropout_after_its_hidden_layers_of_one_half():
    model = registry.build("alexnet")
    head = [layer for layer in model.layers if stage_of(layer.name) == "head"]
    assert [layer.name for layer in head[1:5]] == ["head_fc1", "head_dropout1", "head_fc2", "head_dropout2"]
    assert head[2].rate == head[4].rate == 0.5


def test_alexnet_normalizes_local_responses_only_where_asked():
    norms = {"stage1_norm": "stage1_conv1", "stage2_norm": "stage2_conv1"}
    plain, normalizing = alexnet(head="gap", classes=5), alexnet(head="gap", classes=5, local_response_norm=True)
    assert not norms.keys() & shapes(plain).keys()
    names = [layer.name for layer in normalizing.layers]
    assert [layer.name for layer in normalizing.layers if isinstance(layer, LocalResponseNormalization)] == [*norms]
    for norm, convolution in norms.items():
        assert names[names.index(norm) - 1] == convolution
        assert names[names.index(norm) + 1] == f"{stage_of(norm)}_pool"
    assert normalizing.count_params() == plain.count_params()


def test_there_are_two_alexnets():
    with pytest.raises(UnknownNameError, match="There is no AlexNet '2013'. Variants: 2012, owt"):
        alexnet(variant="2013")


# --- VGG

COLUMNS = {"A": "vgg11", "A-LRN": "vgg11_lrn", "B": "vgg13", "C": "vgg16_conv1", "D": "vgg16", "E": "vgg19"}


@pytest.mark.parametrize(("column", "name"), COLUMNS.items())
def test_vgg_has_the_maps_and_kernels_of_its_column(column, name):
    model = registry.build(name, classes=3, head="gap")
    assert registry.find(name).options["column"] == column
    maps = [shapes(model)[f"stage{i}_pool"] for i in range(1, 6)]
    assert maps == [(112, 112, 64), (56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 512)]
    kernels = [layer.kernel_size[0] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    ones = [i for i, kernel in enumerate(kernels) if kernel == 1]
    assert ones == ([6, 9, 12] if column == "C" else [])
    assert len(kernels) + 3 == int(re.search(r"\d+", name).group())


def test_vgg11_lrn_normalizes_once_after_its_first_convolution():
    model = registry.build("vgg11_lrn", classes=3, head="gap", input_size=32)
    norms = [layer for layer in model.layers if isinstance(layer, LocalResponseNormalization)]
    assert [layer.name for layer in norms] == ["stage1_norm"]
    names = [layer.name for layer in model.layers]
    assert names[names.index("stage1_norm") - 1 : names.index("stage1_norm") + 2] == [
        "stage1_conv1",
        "stage1_norm",
        "stage1_pool",
    ]


# Where torchvision's `features` have their convolutions.
FEATURES = {
    "A": [0, 3, 6, 8, 11, 13, 16, 18],
    "B": [0, 2, 5, 7, 10, 12, 15, 17, 20, 22],
    "D": [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
    "E": [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34],
}


@pytest.mark.parametrize("column", FEATURES)
def test_vgg_has_torchvisions_names(column):
    architecture = registry.find(COLUMNS[column])
    assert f"torch_{column}" in architecture.origins
    model = registry.build(architecture.name, head="gap", input_size=32)
    name_of = vgg.ORIGINS[f"torch_{column}"].name_of
    names = [name_of(layer.name) for layer in model.layers if layer.weights]
    assert names == [*(f"features.{i}" for i in FEATURES[column]), "classifier.6"]
    assert [name_of(f"head_fc{i}") for i in (1, 2)] == ["classifier.0", "classifier.3"]


def test_alexnet_has_torchvisions_names():
    architecture = registry.find("alexnet_owt")
    name_of = architecture.module.ORIGINS["torch"].name_of
    model = registry.build("alexnet_owt", classes=3)
    assert [name_of(layer.name) for layer in model.layers if layer.weights] == [
        *(f"features.{i}" for i in (0, 3, 6, 8, 10)),
        *(f"classifier.{i}" for i in (1, 4, 6)),
    ]


@pytest.mark.parametrize(("column", "name"), COLUMNS.items())
def test_a_file_of_a_vgg_is_known_by_its_kernels(column, name):
    model = registry.build(name, classes=3, head="gap", input_size=32)
    variant = {"A-LRN": "VGG-11", "C": "VGG-16 (conv1)"}.get(column, f"VGG-{vgg.depth_of(column)}")
    origins = ["keras", *(key for key in (f"torch_{column}",) if key in vgg.ORIGINS)]
    for name_of in (str, *(vgg.ORIGINS[key].name_of for key in origins)):
        held = {name_of(layer.name): tuple(layer.weights[0].shape) for layer in model.layers if layer.weights}
        assert vgg.variant_of(held) == variant
        assert resnet_of(held) is None
    assert vgg.variant_of({"features.0": (11, 11, 3, 64)}) is None


@pytest.mark.parametrize("size", [32, 50])
def test_vgg19_features_are_those_of_keras_applications(size):
    theirs = randomized(keras.applications.VGG19(weights=None, include_top=False, input_shape=(size, size, 3)))
    ours = registry.build("vgg19", classes=5, input_size=size, head="gap")
    carry(theirs, ours, registry.find("vgg19"))
    expected = theirs(keras.applications.vgg19.preprocess_input(photos(size)), training=False).numpy()
    found = keras.Model(ours.input, ours.get_layer("stage5_pool").output)(photos(size), training=False).numpy()
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    assert expected.max() > 0.01


@pytest.mark.slow
def test_vgg19_with_its_top_is_that_of_keras_applications():
    theirs = randomized(keras.applications.VGG19(weights=None, classes=7, classifier_activation=None))
    ours = registry.build("vgg19", classes=7)
    carry(theirs, ours, registry.find("vgg19"))
    expected = theirs(keras.applications.vgg19.preprocess_input(photos(224, 1)), training=False).numpy()
    assert np.abs(ours(photos(224, 1), training=False).numpy() - expected).max() < 1e-4
    assert np.abs(expected).max() > 0.01


# --- All of them


@pytest.mark.slow
def test_they_build_and_run_on_another_backend():
    """With the same weights, JAX gives what TensorFlow gives."""
    script = """if True:
        import sys, keras, numpy as np
        from tlkit.models import registry
        cases = [
            ("lenet5", {"activate_after_pooling": True}, 28),
            ("alexnet", {"groups": 2, "local_response_norm": True}, 67),
            ("vgg11_lrn", {}, 32),
            ("resnet18", {"shortcut": "A"}, 32),
        ]
        random = np.random.default_rng(0)
        results = {}
        for name, options, size in cases:
            model = registry.build(name, classes=4, head="gap", input_size=size, **options)
            model.set_weights([random.normal(0, 0.05, w.shape) if w.ndim > 1 else w for w in model.get_weights()])
            x = random.uniform(0, 255, (2, size, size, 3)).astype(np.float32)
            results[name] = model.predict(x, verbose=0)
        assert keras.backend.backend() == sys.argv[1]
        np.savez(sys.argv[2], **results)
    """
    found = []
    for backend in ("tensorflow", "jax"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "logits.npz"
            environment = {**os.environ, "KERAS_BACKEND": backend}
            command = [sys.executable, "-c", script, backend, str(path)]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            found.append(dict(np.load(path)))
    for name, logits in found[0].items():
        assert np.abs(logits).max() > 1e-3, name
        np.testing.assert_allclose(found[1][name], logits, rtol=1e-3, atol=1e-4 * np.abs(logits).max(), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"groups": 2, "local_response_norm": True}, {"variant": "owt"}])
def test_alexnet_learns_and_is_exported(options, tmp_path):
    """Grouped convolutions too: TensorFlow has none on a CPU but through XLA, TensorFlow Lite has them."""
    model = alexnet(classes=3, head="gap", input_size=67, dropout=0.0, **options)
    x, y = photos(67), np.arange(3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-5, momentum=0.9), loss)
    losses = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    whole = keras.Model(model.input, keras.layers.Softmax(name="probabilities")(model.output))
    expected = whole(x, training=False).numpy()
    pixels = x.astype(np.uint8)
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    for precision, most in (("float32", 1e-4), ("int8", 0.1)):
        content = tflite_from_keras(whole, precision=precision, calibration=Calibration(pixels=pixels, sha256=""))
        (tmp_path / "model.tflite").write_bytes(content)
        found = np.array(list(TfliteModel(tmp_path / "model.tflite").predict_all(x.astype(np.uint8))))
        assert np.abs(found - expected).max() < most
    tflite_file.check_int8(content)
