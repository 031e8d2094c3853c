"""Architectures against their papers' figures and against keras.applications."""

import keras
import numpy as np
import pytest

from tlkit.errors import OptionError, UnknownNameError
from tlkit.models import registry
from tlkit.models.mobilenet_v2 import bottlenecks
from tlkit.models.vgg import vgg
from tlkit.models.weights import load_weights
from tlkit.transfer.freeze import stage_of

from ..conftest import coloured

# The deepest build slowly, and are made of the same blocks as the others.
DEEP = ("resnet101", "resnet152", "resnet101_v1.5", "resnet152_v1.5")
NAMES = [
    pytest.param(architecture.name, marks=[pytest.mark.slow] if architecture.name in DEEP else [])
    for architecture in registry.ARCHITECTURES
]


@pytest.mark.parametrize("name", NAMES)
def test_parameter_count_is_the_published_one(name):
    architecture = registry.find(name)
    model = registry.build(name, classes=architecture.params_classes)
    assert model.count_params() == architecture.params
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == (architecture.trainable_params or trainable)


def test_mobilenet_v2_has_the_published_trainable_parameters():
    model = registry.build("mobilenet_v2")
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 3_504_872


def test_lenet_has_the_lectures_layers():
    model = registry.build("lenet5", classes=10)
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert shapes["input_grey"] == (28, 28, 1)
    assert shapes["stage1_conv"] == (28, 28, 6)
    assert shapes["stage1_pool"] == (14, 14, 6)
    assert shapes["stage2_conv"] == (10, 10, 16)
    assert shapes["stage2_pool"] == (5, 5, 16)
    counts = [layer.count_params() for layer in model.layers if layer.weights]
    assert counts == [156, 2416, 48120, 10164, 850]


def test_vgg16_has_the_papers_feature_maps():
    model = registry.build("vgg16")
    maps = [tuple(model.get_layer(f"stage{i}_pool").output.shape[1:]) for i in range(1, 6)]
    assert maps == [(112, 112, 64), (56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 512)]
    assert [model.get_layer(f"head_{n}").count_params() for n in ("fc1", "fc2", "logits")] == [
        102_764_544,
        16_781_312,
        4_097_000,
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", ["gap", "original"])
def test_every_layer_is_named_and_in_a_stage(name, head):
    architecture = registry.find(name)
    model = registry.build(name, classes=3, head=head)
    stages = [stage_of(layer.name) for layer in model.layers]
    assert list(dict.fromkeys(stages)) == ["input", *architecture.stages, "head"]
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.Rescaling)] == ["input_rescaling"]
    assert model.layers[-1].name == "head_logits"


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_ends_where_the_next_begins(name):
    """Freezing cuts between stages: nothing may reach across."""
    model = registry.build(name, classes=3, head="gap", input_size=max(64, registry.find(name).min_input_size))
    stages = [stage_of(layer.name) for layer in model.layers]
    assert stages == sorted(stages, key=list(dict.fromkeys(stages)).index)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_input_size_works_and_a_smaller_one_is_refused(name):
    architecture = registry.find(name)
    size = architecture.min_input_size
    model = registry.build(name, classes=4, head="gap", input_size=size)
    assert model(np.zeros((2, size, size, 3), np.float32)).shape == (2, 4)
    with pytest.raises(OptionError, match=f"needs an input of at least {size} pixels, not {size - 1}"):
        registry.build(name, classes=4, head="gap", input_size=size - 1)


def test_a_fully_connected_head_is_bound_to_its_size():
    with pytest.raises(OptionError, match="takes 224 pixels only, not 96.*or use --head gap"):
        registry.build("vgg16", input_size=96)
    assert registry.build("mobilenet_v2", input_size=96).input.shape[1] == 96


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="no architecture called 'mobilnet_v2'. Did you mean mobilenet_v2"):
        registry.find("mobilnet_v2")
    with pytest.raises(UnknownNameError, match="Table 1 of VGG has no column 'F'. Columns: A, A-LRN, B, C, D, E"):
        vgg("F")


def test_a_width_multiplier_scales_channels_by_the_rule_of_the_paper():
    channels = [filters for _, filters, _, _ in bottlenecks(0.35)]
    reference = keras.applications.MobileNetV2(alpha=0.35, weights=None, include_top=False, input_shape=(32, 32, 3))
    projections = [layer for layer in reference.layers if layer.name.endswith("_project")]
    assert channels == [layer.filters for layer in projections]
    assert registry.build("mobilenet_v2", width_multiplier=1.4).get_layer("stage5_conv").filters == 1792


def randomized(model, seed=0):
    """Random weights, batch-norm statistics included, that keep activations in range."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            values = [
                random.uniform(0.5, 1.5, v.shape) if i in (0, 3) else random.normal(0, 0.2, v.shape)
                for i, v in enumerate(values)
            ]
        elif values:
            values = [v if v.ndim > 1 else random.normal(0, 0.1, v.shape) for v in values]
        layer.set_weights(values)
    return model


def photos(size, count=3):
    return np.stack([np.asarray(coloured(i, i, (size, size))) for i in range(count)]).astype(np.float32)


@pytest.mark.parametrize(("width", "size"), [(1.0, 96), (1.0, 75), (0.35, 64), (1.4, 32)])
def test_mobilenet_v2_is_that_of_keras_applications(tmp_path, width, size):
    theirs = randomized(
        keras.applications.MobileNetV2(
            alpha=width, weights=None, input_shape=(size, size, 3), classes=7, classifier_activation=None
        )
    )
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours = registry.build("mobilenet_v2", classes=7, input_size=size, width_multiplier=width)
    assert load_weights(ours, registry.find("mobilenet_v2"), tmp_path / "a.weights.h5").head
    x = photos(size)
    expected = theirs(x / 127.5 - 1, training=False).numpy()
    assert np.abs(ours(x, training=False).numpy() - expected).max() < 1e-4
    assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("size", [32, 50])
def test_vgg16_features_are_those_of_keras_applications(tmp_path, size):
    theirs = randomized(keras.applications.VGG16(weights=None, include_top=False, input_shape=(size, size, 3)))
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours = registry.build("vgg16", classes=5, input_size=size, head="gap")
    assert not load_weights(ours, registry.find("vgg16"), tmp_path / "a.weights.h5").head
    x = photos(size)
    expected = theirs(keras.applications.vgg16.preprocess_input(x.copy()), training=False).numpy()
    features = keras.Model(ours.input, ours.get_layer("stage5_pool").output)(x, training=False).numpy()
    assert np.abs(features - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    assert expected.max() > 0.01


def test_vgg16_with_its_top_is_that_of_keras_applications(tmp_path):
    theirs = randomized(keras.applications.VGG16(weights=None, classes=1000, classifier_activation=None))
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours = registry.build("vgg16")
    assert load_weights(ours, registry.find("vgg16"), tmp_path / "a.weights.h5").head
    x = photos(224, 1)
    expected = theirs(keras.applications.vgg16.preprocess_input(x.copy()), training=False).numpy()
    assert np.abs(ours(x, training=False).numpy() - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


def test_lenet_sees_the_luma_of_its_rgb_input():
    model = registry.build("lenet5", classes=10)
    grey = keras.Model(model.input, model.get_layer("input_grey").output)
    x = photos(28)
    luma = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None] / 255
    assert np.abs(grey(x).numpy() - luma).max() < 1e-6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "mobilenet_v2", "width": 0.5}, "mobilenet_v2 has no option 'width'. It has: .*width_multiplier"),
        ({"name": "resnet18", "zero_last_gama": True}, "no option 'zero_last_gama'. Did you mean zero_last_gamma"),
        ({"name": "vgg16", "head": "x"}, "head is 'gap' or 'original', not 'x'"),
        ({"name": "vgg16", "classes": 0}, "classes must be a whole number above 0, not 0"),
        ({"name": "vgg16", "classes": "ten"}, "classes must be a whole number above 0, not 'ten'"),
        ({"name": "resnet18", "input_size": (96, 96)}, r"input_size must be a whole number above 0, not \(96, 96\)"),
        ({"name": "alexnet", "groups": 3}, "alexnet can't be built with groups=3: .*divisible"),
        ({"name": "lenet5", "activation": "nonsense"}, "lenet5 can't be built with activation='nonsense': Could not"),
    ],
)
def test_options_that_a_builder_does_not_have_get_a_sentence(given, message):
    with pytest.raises(OptionError, match=message):
        registry.build(**given)


def test_without_classes_a_model_is_that_of_the_paper():
    assert registry.build("lenet5").count_params() == 61_706
    assert registry.build("mobilenet_v2", input_size=32).output.shape[-1] == 1000
