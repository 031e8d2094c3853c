"""What the accounting counts, against the lectures' tables and arithmetic, and against Keras."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.errors import OptionError, UnknownNameError
from tlkit.models import registry
from tlkit.models.accounting import summarize
from tlkit.models.accuracies import ACCURACIES
from tlkit.models.counts import COUNTS
from tlkit.models.skeleton import skeleton, without_weights

from ..conftest import ROOT

NAMES = [architecture.name for architecture in registry.ARCHITECTURES]


def of(*stack, given=(32, 32, 3)):
    """Sums up layers on top of each other."""
    with without_weights():
        return summarize(keras.Sequential([keras.Input(given), *stack]))


def weights_and_macs(summary):
    return [(layer.parameters, layer.macs) for layer in summary.layers if layer.parameters]


# --- Against what is known of whole networks


@pytest.mark.parametrize("name", NAMES)
def test_the_registrys_figures_are_those_that_are_counted(name):
    architecture = registry.find(name)
    summary = summarize(skeleton(name, classes=architecture.params_classes))
    assert (summary.parameters, summary.macs, summary.depth) == (
        architecture.params,
        architecture.macs,
        architecture.depth,
    )
    assert summary.trainable == (architecture.trainable_params or architecture.params)
    assert summary.uncounted == ()
    assert [stage.name for stage in summary.stages] == ["input", *architecture.stages, "head"]


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "mobilenet_v3_large"])
def test_totals_are_the_sums_of_layers_and_of_stages(name):
    summary = summarize(skeleton(name, classes=10))
    for what in ("memory", "parameters", "macs"):
        rows, stages = summary.layers, summary.stages
        assert sum(getattr(row, what) for row in rows) == sum(getattr(stage, what) for stage in stages)
        assert getattr(summary, what) == sum(getattr(stage, what) for stage in stages)
    assert sum(stage.layers for stage in summary.stages) == len(summary.layers)
    assert (summary.float32_bytes, summary.int8_bytes) == (4 * summary.parameters, summary.parameters)


# Parameters as Keras counts them; MACs and depth as the papers state them: ResNet-50 "3.8 x 10^9" (Table 1, with
# bottlenecks striding in the first 1x1), DenseNet-121 and MobileNet by name and by Table 8 (569 million).
@pytest.mark.parametrize(
    ("name", "millions", "depth"),
    [("ResNet50", 3858, 50), ("DenseNet121", 2834, 121), ("MobileNet", 569, 28), ("Xception", None, None)],
)
def test_other_peoples_networks_are_counted_as_published(name, millions, depth):
    with without_weights():
        model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    summary = summarize(model)
    assert summary.parameters == model.count_params()
    assert [layer.name for layer in summary.layers] == [layer.name for layer in model.layers]
    assert [layer.shape for layer in summary.layers] == [tuple(layer.output.shape[1:]) for layer in model.layers]
    if millions:
        assert (round(summary.macs / 1e6), summary.depth) == (millions, depth)


def test_multiplications_are_as_many_as_a_loop_over_outputs_makes():
    """Counted without the formula: an output depends on as many inputs as it has multiplications."""
    for layer, given in (
        (layers.Conv2D(6, 3, strides=2, groups=2, use_bias=False), (9, 9, 4)),
        (layers.DepthwiseConv2D(3, use_bias=False), (7, 7, 2)),
        (layers.Conv2DTranspose(3, 2, strides=2, use_bias=False), (4, 4, 2)),
        (layers.Dense(5, use_bias=False), (3, 3, 4)),
        (layers.Conv1D(4, 3, use_bias=False), (8, 2)),
    ):
        model = keras.Sequential([keras.Input(given), layer])
        layer.set_weights([np.ones(w.shape) for w in layer.weights])
        everything = float(np.asarray(model(np.ones((1, *given), np.float32))).sum())  # every product is 1
        assert summarize(model).macs == everything, layer.name


# --- The lectures' tables


def test_lenet_is_as_the_lecture_tabulates_it():
    rows = {layer.name: layer for layer in summarize(skeleton("lenet5", classes=10)).layers}
    table = {
        "input_grey": (28, 28, 1),
        "stage1_conv": (28, 28, 6),
        "stage1_pool": (14, 14, 6),
        "stage2_conv": (10, 10, 16),
        "stage2_pool": (5, 5, 16),
        "head_fc1": (120,),
        "head_fc2": (84,),
        "head_logits": (10,),
    }
    assert {name: rows[name].shape for name in table} == table
    kernels = {"stage1_conv": 6 * 1 * 5 * 5, "stage2_conv": 16 * 6 * 5 * 5, "head_fc1": 120 * 16 * 5 * 5}
    kernels |= {"head_fc2": 120 * 84, "head_logits": 84 * 10}
    biases = {name: shape[-1] for name, shape in table.items()}
    assert {name: rows[name].parameters - biases[name] for name in kernels} == kernels


def test_the_worked_example_is_the_lectures():
    rows = [row for row in summarize(skeleton("lenet5_rgb", classes=10)).layers if not row.in_place]
    assert [row.size for row in rows] == [3072, 6272, 1568, 1600, 400, 120, 84, 10]
    assert [row.parameters for row in rows] == [0, 608, 0, 3216, 0, 48_120, 10_164, 850]
    assert [row.shape for row in rows[1:5]] == [(28, 28, 8), (14, 14, 8), (10, 10, 16), (5, 5, 16)]
    assert sum(row.parameters for row in rows) == 62_958


# Output side and channels, kernel and stride, parameters.
ALEXNET = [
    (55, 96, "11x11/4", 34_944),
    (27, 96, "3x3/2", 0),
    (27, 256, "5x5", 614_656),
    (13, 256, "3x3/2", 0),
    (13, 384, "3x3", 885_120),
    (13, 384, "3x3", 1_327_488),
    (13, 256, "3x3", 884_992),
    (6, 256, "3x3/2", 0),
]


def test_alexnet_is_as_the_lecture_tabulates_it():
    summary = summarize(skeleton("alexnet"))
    rows = [(row.shape[0], row.shape[2], row.window, row.parameters) for row in summary.layers if row.window]
    assert rows == ALEXNET
    dense = [row.parameters for row in summary.layers if row.kind == "Dense"]
    assert dense == [37_752_832, 16_781_312, 4_097_000]
    assert next(row.size for row in summary.layers if row.kind == "Flatten") == 9216
    assert summarize(skeleton("alexnet", groups=2)).parameters == 60_965_224


def test_vggs_first_six_convolutions_are_what_the_stem_is_compared_with():
    rows = [row for row in summarize(skeleton("vgg13")).layers if row.stage in ("stage1", "stage2", "stage3")]
    convolutions = [row for row in rows if row.kind == "Conv2D"]
    assert len(convolutions) == 6 and rows[-1].shape == (28, 28, 256)
    assert round(sum(row.memory for row in convolutions) / 2**20, 1) == 42.9
    assert sum(row.parameters - row.shape[-1] for row in convolutions) == 1_144_512  # 1.14M
    head = [row.parameters - row.shape[-1] for row in summarize(skeleton("vgg16")).layers if row.kind == "Dense"]
    assert head == [102_760_448, 16_777_216, 4_096_000]


# In units of 2^30 / 1000 bytes, as the lecture's table has it; the two ResNets under their right names.
@pytest.mark.parametrize(
    ("name", "options", "printed"),
    [
        ("alexnet", {"groups": 2}, 227),
        ("googlenet", {}, 27),
        ("inception_v3", {}, 89),
        ("vgg16", {}, 515),
        ("resnet50", {}, 96),
        ("resnet101", {}, 167),
    ],
)
def test_the_size_of_a_network_is_the_printed_one(name, options, printed):
    assert summarize(skeleton(name, **options)).float32_bytes / 2**30 * 1000 == pytest.approx(printed, abs=1)


def test_every_architecture_has_its_counts_and_no_other_does():
    assert set(COUNTS) == set(NAMES) and set(ACCURACIES) <= set(NAMES)


# Output side, channels, parameters with biases, MACs in millions of each inception module.
MODULES = {
    "stage3_a": (28, 256, 163_696, 128.0),
    "stage3_b": (28, 480, 388_736, 304.3),
    "stage4_a": (14, 512, 376_176, 73.6),
    "stage4_b": (14, 512, 449_160, 87.9),
    "stage4_c": (14, 512, 510_104, 99.9),
    "stage4_d": (14, 528, 605_376, 118.5),
    "stage4_e": (14, 832, 868_352, 170.0),
    "stage5_a": (7, 832, 1_043_456, 51.1),
    "stage5_b": (7, 1024, 1_444_080, 70.7),
}


def test_googlenets_modules_are_those_of_the_table():
    summary = summarize(skeleton("googlenet"))
    assert round(summary.macs / 1e6, 1) == 1582.7
    for name, expected in MODULES.items():
        module = [layer for layer in summary.layers if layer.name.startswith(f"{name}_")]
        (joined,) = [layer for layer in module if layer.kind == "Concatenate"]
        parameters, macs = (sum(getattr(layer, what) for layer in module) for what in ("parameters", "macs"))
        assert (joined.shape[0], joined.shape[2], parameters, round(macs / 1e6, 1)) == expected, name
    head = [(layer.parameters, layer.macs) for layer in summary.layers if layer.stage == "head" and layer.parameters]
    assert head == [(1_025_000, 1_024_000)]


def test_googlenets_stem_is_the_lectures():
    """Memory in KB and weights of each layer from 224 to 28; local response normalization is not in that table."""
    rows = [layer for layer in summarize(skeleton("googlenet")).layers if layer.stage == "stem"]
    rows = [layer for layer in rows if layer.kind in ("Conv2D", "MaxPooling2D")]
    assert [layer.memory / 1024 for layer in rows] == [3136, 784, 784, 2352, 588]
    weights = [layer.parameters - layer.shape[-1] for layer in rows if layer.parameters]
    assert [count // 1000 for count in weights] == [9, 4, 110]  # printed 9K, 4K, 111K
    assert sum(weights) == 124_096
    assert round(sum(layer.memory for layer in rows) / 2**20, 2) == 7.46


def test_a_1x1_convolution_before_a_5x5_saves_nine_tenths_of_the_multiplications():
    given = (28, 28, 192)
    direct = of(layers.Conv2D(32, 5, padding="same"), given=given)
    through = of(layers.Conv2D(16, 1), layers.Conv2D(32, 5, padding="same"), given=given)
    assert direct.macs == 120_422_400  # "about 120M"
    assert [layer.macs for layer in through.layers if layer.macs] == [2_408_448, 10_035_200]  # "2.4M + 10.0M"
    assert through.macs == 12_443_648
    assert direct.layers[-1].shape == through.layers[-1].shape == (28, 28, 32)


def test_a_1x1_convolution_changes_depth_alone():
    assert of(layers.Conv2D(32, 1), given=(14, 14, 256)).layers[-1].shape == (14, 14, 32)


def test_a_convolution_has_156_parameters_where_full_connections_have_14_million():
    """Of one channel, and of three: docs/errata.md sets like against like."""
    convolution = of(layers.Conv2D(6, 5), given=(32, 32, 1))
    assert convolution.layers[-1].shape == (28, 28, 6)
    assert convolution.parameters == 156  # ((m n d) + 1) k
    assert of(layers.Flatten(), layers.Dense(28 * 28 * 6, use_bias=False)).parameters == 14_450_688


@pytest.mark.parametrize(
    ("n", "k", "s", "p"), [(32, 5, 1, 0), (227, 11, 4, 0), (55, 3, 2, 0), (28, 5, 1, 2), (7, 3, 2, 1)]
)
def test_the_feature_size_is_that_of_the_lectures_formula(n, k, s, p):
    summary = of(layers.ZeroPadding2D(p), layers.Conv2D(1, k, strides=s), given=(n, n, 1))
    side = (n + 2 * p - k) // s + 1
    assert summary.layers[-1].shape == (side, side, 1)


# --- The lectures' arithmetic: Keras' convolution is the one that they do by hand


def convolved(image, kernel, bias=0.0, strides=1):
    image, kernel = np.asarray(image, np.float32), np.asarray(kernel, np.float32)
    image = image.reshape(1, *image.shape[:2], -1)
    kernel = kernel.reshape(*kernel.shape[:2], -1, 1)
    layer = layers.Conv2D(1, kernel.shape[:2], strides=strides)
    layer.build(image.shape)
    layer.set_weights([kernel, np.array([bias], np.float32)])
    return np.asarray(layer(image))[0, :, :, 0]


PHOTO = [
    [3, 0, 1, 2, 7, 4],
    [1, 5, 8, 9, 3, 1],
    [2, 7, 2, 5, 1, 3],
    [0, 1, 3, 1, 7, 8],
    [4, 2, 1, 6, 2, 8],
    [2, 4, 5, 2, 3, 9],
]
VERTICAL = [[1, 0, -1]] * 3
PIXELS = [
    [1, 0, 0, 0, 0, 1],
    [0, 1, 0, 0, 1, 0],
    [0, 0, 1, 1, 0, 0],
    [1, 0, 0, 0, 1, 0],
    [0, 1, 0, 0, 1, 0],
    [0, 0, 1, 0, 1, 0],
]
DIAGONAL = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]


def test_convolution_is_the_element_wise_product_and_its_sum():
    assert convolved([[1, 2, 3], [2, 0, 0], [7, 9, 1]], [[3, 2, 0], [3, 0, 1], [0, 5, 2]]) == [[60]]


@pytest.mark.parametrize(
    ("image", "kernel", "expected"),
    [
        (PHOTO, VERTICAL, [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]),
        ([[10, 10, 10, 0, 0, 0]] * 6, VERTICAL, [[0, 30, 30, 0]] * 4),
        (PIXELS, DIAGONAL, [[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]]),
    ],
    ids=["vertical edges", "a step", "a diagonal"],
)
def test_a_filter_finds_what_is_printed_and_with_stride_2_every_other(image, kernel, expected):
    assert convolved(image, kernel).tolist() == expected
    assert convolved(image, kernel, strides=2).tolist() == [row[::2] for row in expected[::2]]


def test_the_channels_of_a_filter_and_its_bias_are_added():
    channels = np.zeros((1, 1, 3))
    channels[0, 0] = (308, -498, 164)
    assert convolved(channels, np.ones((1, 1, 3)), bias=1.0) == [[-25]]


# --- How the accounting counts


def test_fused_or_apart_an_activation_needs_the_same_memory():
    fused = of(layers.Conv2D(8, 3, activation="relu"))
    apart = of(layers.Conv2D(8, 3, use_bias=False), layers.BatchNormalization(), layers.Activation("relu"))
    assert fused.memory == apart.memory == 4 * (32 * 32 * 3 + 30 * 30 * 8)
    assert [layer.in_place for layer in apart.layers] == [False, False, True, True]
    assert [layer.size for layer in apart.layers] == [3072, 7200, 7200, 7200]


def test_grouped_depthwise_and_separable_kernels_are_counted_as_they_are():
    given = (8, 8, 16)
    assert weights_and_macs(of(layers.Conv2D(32, 3, groups=4, use_bias=False), given=given)) == [(1152, 1152 * 36)]
    assert weights_and_macs(of(layers.DepthwiseConv2D(3, padding="same"), given=given)) == [(160, 144 * 64)]
    assert weights_and_macs(of(layers.SeparableConv2D(32, 3, use_bias=False), given=given)) == [(656, 656 * 36)]
    assert of(layers.Conv2D(32, (3, 5), strides=(1, 2), groups=4), given=given).layers[-1].window == "3x5/1x2 groups=4"


def test_channels_first_is_counted_like_channels_last():
    with without_weights():
        image = keras.Input((3, 20, 24))
        model = keras.Model(image, layers.Conv2D(7, 3, data_format="channels_first")(image))
    assert summarize(model).macs == 3 * 3 * 3 * 7 * 18 * 22


def test_models_inside_models_count_through():
    with without_weights():
        inner = keras.Sequential(
            [keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="stem_conv"), layers.ReLU(name="stem_relu")],
            name="base",
        )
        image = keras.Input((16, 16, 3), name="input_image")
        model = keras.Model(image, layers.Dense(2, name="head_logits")(layers.Flatten(name="head_flat")(inner(image))))
    summary = summarize(model)
    assert [(layer.name, layer.stage) for layer in summary.layers] == [
        ("input_image", "input"),
        ("base/stem_conv", "stem"),
        ("base/stem_relu", "stem"),
        ("head_flat", "head"),
        ("head_logits", "head"),
    ]
    assert summary.layers[1].shape == (14, 14, 4)  # although the inner model does not know it
    assert summary.macs == 27 * 4 * 196 + 784 * 2 and summary.depth == 2


def test_a_shared_layer_works_twice_and_weighs_once():
    shared = layers.Dense(5, use_bias=False)
    with without_weights():
        image = keras.Input((4, 5))
        model = keras.Model(image, shared(shared(image)))
    summary = summarize(model)
    assert (summary.parameters, summary.macs, summary.depth) == (25, 2 * 4 * 25, 2)


def test_operations_that_are_no_layers_are_listed():
    with without_weights():
        image = keras.Input((4, 4, 2))
        model = keras.Model(image, keras.ops.mean(image * 2.0, axis=(1, 2)))
    assert [layer.shape for layer in summarize(model).layers] == [(4, 4, 2), (4, 4, 2), (2,)]


def test_what_multiplies_in_an_unknown_way_is_named():
    with without_weights():
        image = keras.Input((6, 8))
        model = keras.Model(image, layers.MultiHeadAttention(2, 4, name="odd")(image, image))
    summary = summarize(model)
    assert summary.uncounted == ("odd",)
    assert summary.parameters == model.count_params()


def test_a_frozen_layer_is_not_trainable():
    model = skeleton("mobilenet_v2", classes=3, input_size=32, head="gap")
    model.get_layer("stem_conv").trainable = False
    assert summarize(skeleton("mobilenet_v2", classes=3, input_size=32)).trainable - summarize(model).trainable == 864


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(1, 1)]),
            r"\(None, None, 3\) has no fixed",
        ),
        (lambda: keras.Sequential([layers.Conv2D(1, 1)]), "or has not been built. Make it with keras.Model"),
        (type("Own", (keras.Model,), {"call": lambda self, x: x}), "no functional or sequential model"),
    ],
)
def test_what_cant_be_counted_is_said(make, message):
    with pytest.raises(OptionError, match=message):
        summarize(make())


def test_a_width_is_for_those_that_have_one():
    assert registry.build("mobilenet_v2", width_multiplier=0.35, classes=3).get_layer("stem_conv").filters == 16
    with pytest.raises(
        OptionError, match=r"vgg16 has no width multiplier \(0.5 was given\).*take one of .*mobilenet_v2"
    ):
        registry.build("vgg16", width_multiplier=0.5)
    with pytest.raises(OptionError, match="more than 0 and at most 4, not -1"):
        skeleton("mobilenet_v2", width_multiplier=-1)
    with pytest.raises(UnknownNameError, match="Did you mean mobilenet_v2"):
        skeleton("mobilnet_v2")


def test_a_skeleton_has_no_values_and_leaves_none_to_be_made_later():
    model = skeleton("vgg16")
    with keras.StatelessScope():  # Keras makes up for variables without values when it ends
        pass
    assert all(weight._value is None for weight in model.weights)
    built = registry.build("lenet5", classes=10)  # and what is built afterwards is whole
    assert np.asarray(built(np.zeros((1, 28, 28, 3), np.float32))).shape == (1, 10)


@pytest.mark.slow
def test_it_counts_on_another_backend(tmp_path):
    code = (
        "import json, keras\n"
        "from tlkit.models.accounting import summarize\n"
        "from tlkit.models.skeleton import skeleton\n"
        "s = summarize(skeleton('mobilenet_v2', width_multiplier=0.5))\n"
        "print(json.dumps([keras.backend.backend(), s.parameters, s.macs, s.memory, s.depth]))"
    )
    env = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), "KERAS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    here = summarize(skeleton("mobilenet_v2", width_multiplier=0.5))
    assert json.loads(done.stdout) == ["jax", here.parameters, here.macs, here.memory, here.depth]
