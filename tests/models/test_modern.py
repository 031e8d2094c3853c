"""GoogLeNet, Inception-v3 and the MobileNets against their papers' figures and against keras.applications."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.convert import tflite_file
from tlkit.convert.calibration import Calibration
from tlkit.convert.to_tflite import tflite_from_keras
from tlkit.errors import OptionError, UnknownNameError
from tlkit.models import blocks, googlenet, registry
from tlkit.models.mobilenet_v3 import mobilenet_v3
from tlkit.models.weights import load_weights
from tlkit.preprocess import PreprocessSpec

from ..conftest import settled
from .parity import carry, difference, photos, randomized

BATCH_NORMALIZED = [a.name for a in registry.ARCHITECTURES if a.trainable_params is not None]


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize("name", BATCH_NORMALIZED)
def test_trainable_parameters_are_the_published_ones(name):
    architecture = registry.find(name)
    assert trainable(registry.build(name)) == architecture.trainable_params < architecture.params


# --- GoogLeNet


@pytest.fixture(scope="module")
def paper():
    return registry.build("googlenet")


def test_googlenet_has_the_papers_maps(paper):
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in paper.layers}
    assert shapes["stem_conv1"] == (112, 112, 64)
    assert shapes["stem_pool1"] == (56, 56, 64)
    assert shapes["stem_conv2"] == (56, 56, 192)
    assert shapes["stem_pool2"] == (28, 28, 192)
    assert shapes["stage3_a_concat"] == (28, 28, 256)
    assert shapes["stage3_pool"] == (14, 14, 480)
    assert [shapes[f"stage4_{m}_concat"][-1] for m in "abcde"] == [512, 512, 512, 528, 832]
    assert shapes["stage4_pool"] == (7, 7, 832)
    assert shapes["stage5_b_concat"] == (7, 7, 1024)
    assert paper.get_layer("head_dropout").rate == 0.4


def test_googlenet_normalizes_after_the_first_pooling_and_before_the_second(paper):
    norms = [layer for layer in paper.layers if type(layer).__name__ == "LocalResponseNormalization"]
    assert [norm.input.shape[1:] for norm in norms] == [(56, 56, 64), (56, 56, 192)]


def test_googlenets_auxiliary_classifiers_are_there_only_when_asked_for(paper):
    model = registry.build("googlenet", auxiliaries=True)
    assert model.count_params() == 13_378_280
    assert [output.shape for output in model.outputs] == [(None, 1000)] * 3
    extra = {layer.name for layer in model.layers} - {layer.name for layer in paper.layers}
    assert {name.partition("_")[0] for name in extra} == {"aux1", "aux2"}
    for name, channels in (("aux1", 512), ("aux2", 528)):
        layer = model.get_layer(f"{name}_pool")
        assert (layer.input.shape[1:], layer.output.shape[1:]) == ((14, 14, channels), (4, 4, channels))
        assert model.get_layer(f"{name}_dropout").rate == 0.7
    assert len(paper.outputs) == 1
    assert not [layer.name for layer in paper.layers if layer.name.startswith("aux")]


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_auxiliary_classifiers_take_no_smaller_input_than_they_can_pool(name):
    size = googlenet.SMALLEST_WITH_AUXILIARIES
    model = registry.build(name, classes=3, input_size=size, auxiliaries=True)
    assert model.get_layer("aux1_pool").output.shape[1:3] == (1, 1)
    smaller = registry.build(name, classes=3, input_size=size - 1)
    assert smaller.get_layer("stage4_a_concat").output.shape[1] == 4
    with pytest.raises(OptionError, match="need an input of at least 79 pixels, not 78. Use a larger input"):
        registry.build(name, classes=3, input_size=size - 1, auxiliaries=True)


def test_googlenet_bn_has_3x3_kernels_no_biases_and_its_own_epsilon():
    model = registry.build("googlenet_bn", classes=3, input_size=32)
    assert {model.get_layer(f"{name}_5x5").kernel_size for name in googlenet.TABLE_1} == {(3, 3)}
    assert not any(layer.use_bias for layer in model.layers if isinstance(layer, layers.Conv2D))
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 57 and {norm.epsilon for norm in norms} == {1e-3}
    assert model.get_layer("head_dropout").rate == 0.2
    rescaling = model.get_layer("input_rescaling")
    assert (rescaling.scale, rescaling.offset) == (1 / 127.5, -1.0)


def test_googlenet_bn_has_the_names_of_torchvision():
    name_of = googlenet.ORIGINS["torch"].name_of
    assert name_of("stem_conv1") == "conv1.conv"
    assert name_of("stem_conv2_reduce_bn") == "conv2.bn"
    assert name_of("stage3_a_1x1") == "inception3a.branch1.conv"
    assert name_of("stage4_e_3x3_reduce_bn") == "inception4e.branch2.0.bn"
    assert name_of("stage5_b_5x5") == "inception5b.branch3.1.conv"
    assert name_of("stage5_b_pool_project_bn") == "inception5b.branch4.1.bn"
    assert name_of("head_logits") == "fc"


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("size", [4, 7, 12, 37])
def test_ceil_pooling_drops_no_row_and_pads_only_what_is_missing(window, size):
    image = keras.Input((size, size, 1))
    model = keras.Model(image, blocks.max_pool_ceil(image, window, name="pool"))
    x = -np.random.default_rng(size).uniform(1, 2, (1, size, size, 1)).astype(np.float32)  # zero padding would show
    starts = range(0, -(-(size - window) // 2) * 2 + 1, 2)
    expected = [[x[0, i : i + window, j : j + window].max() for j in starts] for i in starts]
    assert np.array_equal(model(x).numpy()[0, :, :, 0], np.array(expected))


# --- against keras.applications: name, its constructor, options for both, input size, whether with top

V3_PREPROCESSING = {"include_preprocessing": False}
PARITY = [
    ("inception_v3", "InceptionV3", None, 75, True, {}),
    ("inception_v3", "InceptionV3", None, 107, False, {}),
    ("mobilenet_v1", "MobileNet", 1.0, 96, True, {}),
    ("mobilenet_v1", "MobileNet", 0.25, 75, True, {}),
    ("mobilenet_v1", "MobileNet", 0.5, 111, False, {}),
    ("mobilenet_v1", "MobileNet", 0.75, 64, True, {}),
    ("mobilenet_v1", "MobileNet", 0.6, 32, True, {}),
    ("mobilenet_v2", "MobileNetV2", 0.5, 64, True, {}),
    ("mobilenet_v2", "MobileNetV2", 0.75, 75, True, {}),
    ("mobilenet_v2", "MobileNetV2", 1.3, 49, False, {}),
    ("mobilenet_v3_large", "MobileNetV3Large", 1.0, 96, True, V3_PREPROCESSING),
    ("mobilenet_v3_large", "MobileNetV3Large", 0.75, 75, False, V3_PREPROCESSING),
    ("mobilenet_v3_small", "MobileNetV3Small", 1.0, 75, True, V3_PREPROCESSING),
    ("mobilenet_v3_small", "MobileNetV3Small", 0.75, 111, True, V3_PREPROCESSING),
    ("mobilenet_v3_small", "MobileNetV3Small", 1.25, 64, False, V3_PREPROCESSING),
]
LONG = [
    ("inception_v3", "InceptionV3", None, 299, True, {}),
    ("mobilenet_v1", "MobileNet", 1.0, 224, True, {}),
    ("mobilenet_v2", "MobileNetV2", 0.35, 224, True, {}),
    ("mobilenet_v2", "MobileNetV2", 1.4, 96, True, {}),
    ("mobilenet_v3_large", "MobileNetV3Large", 1.0, 224, True, V3_PREPROCESSING),
    ("mobilenet_v3_small", "MobileNetV3Small", 1.0, 224, True, V3_PREPROCESSING),
]


@pytest.mark.parametrize(
    ("name", "constructor", "width", "size", "top", "more"),
    [*PARITY, *(pytest.param(*case, marks=pytest.mark.slow) for case in LONG)],
)
def test_it_is_that_of_keras_applications(name, constructor, width, size, top, more):
    keras.utils.set_random_seed(size)
    x = photos(size)
    wide = {} if width is None else {"alpha": width}
    classes = {"classes": 7, "classifier_activation": None} if top else {}
    theirs = getattr(keras.applications, constructor)(
        weights=None, include_top=top, input_shape=(size, size, 3), **wide, **classes, **more
    )
    randomized(theirs, photos(size, 8 if size < 200 else 2) / 127.5 - 1)
    ours = registry.build(
        name,
        classes=7,
        input_size=size,
        head="original" if top else "gap",
        **({} if width is None else {"width_multiplier": width}),
    )
    carry(theirs, ours, registry.find(name))
    if not top:
        ours = keras.Model(ours.input, ours.get_layer("head_pool").input)
    assert difference(ours(x, training=False), theirs(x / 127.5 - 1, training=False)) < 1e-4


def test_the_published_files_of_keras_2_have_other_names():
    for name in ("inception_v3", "mobilenet_v3_large", "mobilenet_v3_small"):
        assert "keras2" in registry.find(name).origins
    inception = registry.find("inception_v3").module.ORIGINS
    assert inception["keras"].name_of("stem_conv1") == "conv2d"
    assert inception["keras"].name_of("stem_conv2_bn") == "batch_normalization_1"
    assert inception["keras2"].name_of("stem_conv1") == "conv2d_1"
    assert inception["keras2"].name_of("stage3_block3_branch4_conv1_bn") == "batch_normalization_94"
    v3 = registry.find("mobilenet_v3_large").module.ORIGINS["keras2"].name_of
    assert v3("stem_conv_bn") == "Conv/BatchNorm"
    assert v3("stage1_block1_depthwise") == "expanded_conv/depthwise"
    assert v3("stage3_block4_se_conv1") == "expanded_conv_3/squeeze_excite/Conv"
    assert v3("stage3_block4_se_conv2") == "expanded_conv_3/squeeze_excite/Conv_1"
    assert v3("stage5_block13_project_bn") == "expanded_conv_12/project/BatchNorm"
    assert [v3(n) for n in ("stage5_conv", "head_fc", "head_logits")] == ["Conv_1", "Conv_2", "Logits"]


# --- MobileNets


@pytest.mark.parametrize(
    ("name", "hidden"), [("mobilenet_v3_large", 1280), ("mobilenet_v3_small", 1024), ("mobilenet_v1", None)]
)
def test_only_an_original_head_with_hidden_layers_takes_the_file_with_the_classifier(name, hidden):
    architecture = registry.find(name)
    model = registry.build(name, classes=3, input_size=32)
    assert [layer.units for layer in model.layers if layer.name == "head_fc"] == ([hidden] if hidden else [])
    assert architecture.takes_top("original") == (hidden is not None)
    assert not architecture.takes_top("gap")
    assert architecture.smallest("original") == 32  # it is bound to no size


def test_mobilenet_v3_has_no_other_size():
    with pytest.raises(UnknownNameError, match="no MobileNetV3 of size 'medium'. Sizes: large, small"):
        mobilenet_v3("medium")


@pytest.mark.parametrize(
    ("name", "wide", "narrow"),
    [
        ("mobilenet_v1", "MobileNetV1 of width 1.0", "MobileNetV1 of width 0.5"),
        ("mobilenet_v3_large", "MobileNetV3-Large of width 1.0", None),
        ("mobilenet_v3_small", "MobileNetV3-Small of width 1.0", None),
    ],
)
def test_a_width_is_told_from_the_shapes_of_kernels(name, wide, narrow):
    module = registry.find(name).module
    for width, expected in ((1.0, wide), (0.5, narrow)):
        model = registry.build(name, classes=3, input_size=32, width_multiplier=width)
        shapes = {layer.name: tuple(layer.weights[0].shape) for layer in model.layers if layer.weights}
        assert module.variant_of(shapes) == expected
        for origin in module.ORIGINS.values():
            assert module.variant_of({origin.name_of(n): s for n, s in shapes.items()}) == expected


@pytest.mark.slow
def test_an_int8_mobilenet_v3_has_no_float_operation():
    """Hard-swish and squeeze-excite are integer operations too, and hard-swish is one of its own."""
    keras.utils.set_random_seed(0)
    model = settled(registry.build("mobilenet_v3_small", classes=4, input_size=64))
    pixels = photos(64, 9).astype(np.uint8)
    pixels[-1, 0, 0], pixels[-1, 0, 1] = 0, 255
    content = tflite_from_keras(
        keras.Model(model.input, layers.Softmax()(model.output)),
        precision="int8",
        calibration=Calibration(pixels=pixels, sha256="0" * 64),
    )
    assert tflite_file.float_operations(content) == []
    names = [operation.name for operation in tflite_file.operations(content)]
    assert names.count("HARD_SWISH") == 19
    assert names.count("DEPTHWISE_CONV_2D") == 11


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(("width", "size", "top1", "top5"), [(0.5, 160, 0.700, 0.881), (0.25, 128, 0.488, 0.730)])
def test_real_imagenet_weights_of_mobilenet_v1_recognize_the_samples(shared, width, size, top1, top5):
    names = json.loads((shared / "data" / "imagenet_samples.json").read_text())
    spec = PreprocessSpec(input_size=size, resize="crop", crop_fraction=0.875)
    chosen = sorted(names, key=int)
    x = np.stack([spec.load(shared / "data" / "imagenet_samples" / f"{names[i]}.jpg") for i in chosen])
    x = x.astype(np.float32)
    path = shared / "weights" / f"mobilenet_v1_{width}_{size}_imagenet.weights.h5"
    theirs = keras.applications.MobileNet(
        alpha=width, input_shape=(size, size, 3), weights=str(path), classifier_activation=None
    )
    ours = registry.build("mobilenet_v1", input_size=size, width_multiplier=width)
    load_weights(ours, registry.find("mobilenet_v1"), path)
    logits = ours.predict(x, batch_size=100, verbose=0)
    assert difference(logits[:10], theirs.predict(x[:10] / 127.5 - 1, verbose=0)) < 1e-4
    labels = np.array([int(i) for i in chosen])[:, None]
    order = np.argsort(-logits, axis=1)
    # The rates of their README are for TensorFlow's bilinear resize without antialiasing, which these small networks
    # were trained with: it gives 1 to 2 points more than the spec's.
    assert np.mean(order[:, :1] == labels) == pytest.approx(top1, abs=0.04)
    assert np.mean((order[:, :5] == labels).any(axis=1)) == pytest.approx(top5, abs=0.03)
