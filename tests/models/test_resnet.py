"""ResNet against its paper, the lecture's identity argument and keras.applications."""

import keras
import numpy as np
import pytest

from tlkit.convert import tflite_file
from tlkit.convert.calibration import Calibration
from tlkit.convert.to_tflite import tflite_from_keras
from tlkit.errors import OptionError, UnknownNameError
from tlkit.models import blocks, registry
from tlkit.models.resnet import TABLE_1, resnet, variant_of
from tlkit.transfer.features import cut
from tlkit.transfer.freeze import stage_of

from ..conftest import settled
from .parity import carry
from .test_architectures import NAMES, photos, randomized

RESNETS = [one for one in NAMES if registry.find(one.values[0]).family == "resnet"]


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_resnet_has_the_maps_of_table_1():
    for depth, channels in ((18, [64, 128, 256, 512]), (50, [256, 512, 1024, 2048])):
        model = resnet(depth, classes=3)
        assert model.get_layer("stem_conv").output.shape[1:] == (112, 112, 64)
        ends = [f"stage{i}_block{count}_relu" for i, count in enumerate(TABLE_1[depth][1], start=2)]
        shapes = [tuple(model.get_layer(name).output.shape[1:]) for name in ends]
        assert shapes == [(side, side, c) for side, c in zip((56, 28, 14, 7), channels, strict=True)]


@pytest.mark.parametrize("name", RESNETS)
def test_weighted_layers_are_as_many_as_the_name_says(name):
    model = registry.build(name, classes=3, input_size=32)
    weighted = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    shortcuts = [layer for layer in weighted if layer.name.endswith("_shortcut")]
    assert len(weighted) - len(shortcuts) == registry.find(name).options["depth"]
    assert not any(layer.use_bias for layer in weighted[:-1])


@pytest.mark.parametrize(("depth", "count"), [(18, 11_515_688), (34, 21_623_848)])
def test_shortcuts_of_option_a_have_no_parameters(depth, count):
    assert trainable(resnet(depth, shortcut="A")) == count == trainable(registry.build(f"plain{depth}"))


def test_a_plain_network_adds_nothing():
    model = registry.build("plain18", classes=3)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert "stage3_block1_shortcut" not in {layer.name for layer in model.layers}


@pytest.mark.parametrize(("size", "stride"), [(8, 2), (7, 2), (5, 1)])
def test_zero_padded_is_the_input_subsampled_and_zeros(size, stride):
    image = keras.Input((size, size, 6))
    model = keras.Model(image, blocks.zero_padded(image, 11, stride=stride, name="shortcut"))
    x = np.random.default_rng(0).normal(size=(2, size, size, 6)).astype(np.float32)
    found = model(x).numpy()
    assert model.count_params() == 0
    np.testing.assert_array_equal(found[..., :6], x[:, ::stride, ::stride])
    assert found.shape[-1] == 11
    assert not found[..., 6:].any()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_shortcuts_of_option_a_are_exported(precision):
    image, x = blocks.image_input(16, (1 / 255, 0.0))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="stem_conv")(x)
    x = blocks.zero_padded(x, 8, stride=2, name="stage1_shortcut")
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(blocks.gap_head(x, 3, 0.0)))
    calibration = Calibration(pixels=photos(16).astype(np.uint8), sha256="") if precision == "int8" else None
    content = tflite_from_keras(model, precision=precision, calibration=calibration)
    if precision == "int8":
        assert tflite_file.float_operations(content) == []
    assert "PAD" in {operation.name for operation in tflite_file.operations(content)}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_with_its_last_gamma_zero_a_block_starts_as_its_shortcut(depth, training):
    """What a ReLU gave passes an identity block unchanged, as the lecture argues, whatever the other weights are."""
    model = resnet(depth, classes=3, input_size=64, zero_last_gamma=True)
    names = [f"stage{s}_block{b}" for s, n in enumerate(TABLE_1[depth][1], start=2) for b in range(1, n + 1)]
    ends = ["stem_pool", *(f"{name}_relu" for name in names)]
    shortcuts = [f"{name}_shortcut_bn" for name in names if f"{name}_shortcut" in {x.name for x in model.layers}]
    watched = keras.Model(model.input, {name: model.get_layer(name).output for name in (*ends, *shortcuts)})
    seen = {name: part.numpy() for name, part in watched(photos(64), training=training).items()}
    for name, before in zip(names, ends, strict=False):
        shortcut = seen.get(f"{name}_shortcut_bn")
        expected = seen[before] if shortcut is None else np.maximum(shortcut, 0)
        np.testing.assert_allclose(seen[f"{name}_relu"], expected, atol=1e-6)
        assert expected.max() > 0
    assert len(shortcuts) == (3 if depth == 18 else 4)


@pytest.mark.parametrize(("name", "same"), [("resnet18", True), ("plain18", False)])
def test_with_its_last_kernel_zero_a_block_is_the_identity_and_a_plain_one_is_nothing(name, same):
    """The lecture: with W = 0 and b = 0, a[l+2] = g(a[l]) = a[l]."""
    model = registry.build(name, classes=3, input_size=64)
    kernel = model.get_layer("stage3_block2_conv2").kernel
    parts = [model.get_layer(f"stage3_block{i}_relu").output for i in (1, 2)]
    block = keras.Model(model.input, parts)
    before, after = (part.numpy() for part in block(photos(64), training=False))
    assert np.abs(after - before).max() > 0.01
    kernel.assign(np.zeros(kernel.shape))
    before, after = (part.numpy() for part in block(photos(64), training=False))
    np.testing.assert_array_equal(after, before if same else np.zeros_like(before))
    assert before.max() > 0


@pytest.mark.parametrize(("name", "strided"), [("resnet50", "conv1"), ("resnet50_v1.5", "conv2")])
def test_a_bottleneck_strides_where_the_weights_need_it(name, strided):
    model = registry.build(name, classes=3, input_size=64)
    for stage in (3, 4, 5):
        strides = {i: model.get_layer(f"stage{stage}_block1_conv{i}").strides[0] for i in (1, 2, 3)}
        assert strides == {i: 2 if f"conv{i}" == strided else 1 for i in (1, 2, 3)}
        assert model.get_layer(f"stage{stage}_block1_shortcut").strides == (2, 2)


def test_basic_blocks_stride_on_their_first_convolution():
    model = registry.build("resnet18", classes=3, input_size=64)
    assert [model.get_layer(f"stage3_block1_conv{i}").strides[0] for i in (1, 2)] == [2, 1]


@pytest.mark.parametrize(("depth", "shortcut"), [(18, "B"), (18, "A"), (18, None)])
def test_a_cut_at_any_stage_gives_what_the_whole_network_gives(depth, shortcut):
    model = resnet(depth, classes=3, input_size=64, shortcut=shortcut)
    stages = list(dict.fromkeys(stage_of(layer.name) for layer in model.layers))[1:-1]
    assert stages == ["stem", "stage2", "stage3", "stage4", "stage5"]
    x = photos(64)
    expected = model(x, training=False).numpy()
    for count in range(1, len(stages) + 1):
        parts = cut(model, stages[:count])
        assert stage_of(parts.boundary) == (stages[count - 1] if count < len(stages) else "head")
        found = parts.tail(parts.backbone(x, training=False), training=False).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def torchvisions(depth):
    """The prefixes in the state dict of a torchvision ResNet, in the order of its definition."""
    kind, repeats = TABLE_1[depth]
    for layer, count in enumerate(repeats, start=1):
        for block in range(count):
            for i in range(1, 3 if kind == "basic" else 4):
                yield from (f"layer{layer}.{block}.conv{i}", f"layer{layer}.{block}.bn{i}")
            if block == 0 and (layer > 1 or kind == "bottleneck"):
                yield from (f"layer{layer}.0.downsample.0", f"layer{layer}.0.downsample.1")


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50_v1.5"])
def test_resnet_has_torchvisions_names(name):
    architecture = registry.find(name)
    model = registry.build(name, classes=3, input_size=32)
    name_of = architecture.module.ORIGINS["torch"].name_of
    names = [name_of(layer.name) for layer in model.layers if layer.weights]
    assert architecture.origins == ("torch",)
    assert sorted(names) == sorted(["conv1", "bn1", "fc", *torchvisions(architecture.options["depth"])])
    shapes = {name_of(layer.name): tuple(layer.weights[0].shape) for layer in model.layers if layer.weights}
    assert shapes["layer2.0.downsample.0"][:2] == (1, 1)
    assert shapes["layer1.0.conv2"][:2] == (3, 3)


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_a_file_of_a_resnet_is_known_by_its_kernels(depth):
    model = resnet(depth, classes=3, input_size=32)
    origins = registry.find("resnet50").module.ORIGINS
    for name_of in (str, origins["keras"].name_of, origins["torch"].name_of):
        held = {name_of(layer.name): tuple(layer.weights[0].shape) for layer in model.layers if layer.weights}
        assert variant_of(held) == f"ResNet-{depth}"
    assert variant_of({"block1_conv1": (3, 3, 3, 64)}) is None


def lively(model, x):
    """Random weights and statistics, near those of the model's own activations: in a deep network others explode.

    For the same reason the branches of its bottlenecks add but little.
    """
    random = np.random.default_rng(3)
    randomized(model)
    for layer in model.layers:
        if layer.name.endswith("_3_bn"):
            layer.gamma.assign(layer.gamma * 0.3)
    settled(model, x=x)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            mean = mean + random.normal(0, 0.2, mean.shape) * np.sqrt(variance)
            layer.set_weights([gamma, beta, mean, variance * random.uniform(0.8, 1.25, mean.shape)])
    return model


@pytest.mark.parametrize(
    ("depth", "size"),
    [(50, 64), (50, 75), *(pytest.param(d, s, marks=pytest.mark.slow) for d in (101, 152) for s in (64, 97))],
)
def test_resnet_is_that_of_keras_applications(depth, size):
    options = {"weights": None, "input_shape": (size, size, 3), "classes": 7, "classifier_activation": None}
    keras.utils.set_random_seed(0)
    seen = keras.applications.resnet.preprocess_input(photos(size, 16))
    theirs = lively(getattr(keras.applications, f"ResNet{depth}")(**options), seen)
    ours = registry.build(f"resnet{depth}", classes=7, input_size=size)
    carry(theirs, ours, registry.find(f"resnet{depth}"))
    x = photos(size)
    expected = theirs(seen[:3], training=False).numpy()
    assert np.abs(ours(x, training=False).numpy() - expected).max() < 1e-4
    assert 0.01 < np.abs(expected).max() < 100


@pytest.mark.parametrize(
    ("depth", "size"), [(50, 50), *(pytest.param(d, 66, marks=pytest.mark.slow) for d in (101, 152))]
)
def test_resnet_features_are_those_of_keras_applications(depth, size):
    options = {"weights": None, "input_shape": (size, size, 3), "include_top": False}
    keras.utils.set_random_seed(0)
    seen = keras.applications.resnet.preprocess_input(photos(size, 16))
    theirs = lively(getattr(keras.applications, f"ResNet{depth}")(**options), seen)
    ours = registry.build(f"resnet{depth}", classes=7, input_size=size, head="gap")
    carry(theirs, ours, registry.find(f"resnet{depth}"))
    x = photos(size)
    expected = theirs(seen[:3], training=False).numpy()
    found = keras.Model(ours.input, ours.get_layer("stage5_block3_relu").output)(x, training=False).numpy()
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    assert 0.01 < expected.max() < 100


def test_unknown_depths_and_shortcuts_are_refused():
    with pytest.raises(UnknownNameError, match="There is no ResNet of depth 51. Depths: 18, 34, 50, 101, 152"):
        resnet(51)
    with pytest.raises(OptionError, match="A ResNet's shortcut is 'A', 'B' or None, not 'C'"):
        resnet(18, shortcut="C")
