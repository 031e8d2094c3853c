"""Bases that others made: constructors of keras.applications, and models in files."""

import contextlib
import gc
import hashlib
import inspect
import re
import sys
import warnings
import weakref
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.errors import BaseError, OptionError, UnknownNameError, WeightsError
from tlkit.models import bases, constructors, foreign, foreign_weights, graph, own_model, registry, stages
from tlkit.models.imagenet import DownloadError, models_folder
from tlkit.models.skeleton import without_weights
from tlkit.transfer import results
from tlkit.transfer.features import cut

from ..conftest import photo, settled

MANY = (
    "Xception",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "ConvNeXtTiny",
    "NASNetMobile",
    "ResNet50V2",
    "MobileNetV3Small",
    "VGG16",
    "ResNet50",
)


def pixels(size, count=2):
    return np.stack([np.asarray(photo(seed, (size, size))) for seed in range(count)])


def built(base, size, **options):
    """A foreign base with the weights of its original, as `(architecture, model)`."""
    architecture = bases.find(str(base), input_size=size, **options)
    model = registry.build(architecture, classes=3, input_size=size, head="gap")
    return architecture, model


def features(model, x):
    return keras.Model(model.input, model.get_layer("head_pool").input)(x.astype(np.float32), training=False).numpy()


def save(model, path):
    """Saves; Keras' legacy format warns of NumPy's next version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)


def tutorial(size=48, classes=4, input_layers=(), name="mine"):
    """What everybody's tutorial ends with: augmentation, a nested backbone, pooling, a classifier."""
    image = keras.Input((size, size, 3))
    x = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])(image)
    for layer in input_layers:
        x = layer(x)
    inner = keras.Input((None, None, 3))
    y = inner
    for filters in (8, 16, 24):
        y = layers.Conv2D(filters, 3, strides=2, padding="same")(y)
        y = layers.BatchNormalization()(y)
        y = layers.ReLU()(y)
    backbone = keras.Model(inner, y, name="backbone")
    x = layers.GlobalAveragePooling2D()(backbone(x))
    x = layers.Dropout(0.2)(x)
    return settled(keras.Model(image, layers.Dense(classes, activation="softmax")(x), name=name))


@pytest.fixture
def saved(tmp_path):
    def save(model, name="mine.keras"):
        model.save(tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("name", MANY)
@pytest.mark.slow
def test_features_are_those_of_the_constructor_behind_its_own_preprocessing(name, tmp_path):
    size = 75
    original = settled(constructors.build(name, size))
    original.save_weights(tmp_path / "original.weights.h5")
    architecture, model = built(f"keras:{name}", size)
    foreign_weights.load(model, architecture, str(tmp_path / "original.weights.h5"))
    x = pixels(size)
    preprocess = sys.modules[constructors.find(name).__module__].preprocess_input
    wanted = original(preprocess(x.astype(np.float32)), training=False).numpy()
    assert np.abs(features(model, x) - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())
    assert len(architecture.stages) >= 2
    probabilities = keras.ops.softmax(model(x.astype(np.float32), training=False)).numpy()
    for count in range(1, len(architecture.stages) + 1):
        parts = cut(model, architecture.stages[:count])
        tail = parts.tail(parts.backbone(x.astype(np.float32), training=False), training=False)
        assert np.allclose(keras.ops.softmax(tail).numpy(), probabilities, atol=1e-5)


@pytest.mark.slow
def test_default_and_smallest_sizes_are_those_of_the_constructors(monkeypatch):
    seen = {}
    for name in constructors.names():
        function = constructors.find(name)
        module = sys.modules[function.__module__]

        def remember(shape, default_size, min_size, *rest, name=name, **named):
            seen[name] = default_size, min_size
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(module.imagenet_utils, "obtain_input_shape", remember)
            if hasattr(module, "obtain_input_shape"):
                patch.setattr(module, "obtain_input_shape", remember)
            with contextlib.suppress(ZeroDivisionError):
                function(weights=None, include_top=False, input_shape=(100, 100, 3))
    unasked = set(constructors.names()) - set(seen)
    assert unasked <= {"MobileNetV3Small", "MobileNetV3Large"}  # which check for 32 pixels themselves
    assert {constructors.sizes(name) for name in unasked} <= {(224, 32)}
    assert seen == {name: constructors.sizes(name) for name in seen}
    assert len(seen) >= 36 and set(constructors.SIZES) <= set(seen)


@pytest.mark.parametrize("name", ["EfficientNetB0", "VGG16", "ResNet50", "DenseNet121", "MobileNetV2", "Xception"])
def test_preprocessing_is_found_by_probing(name):
    (scale, offset), bgr = constructors.preprocessing(name)
    x = pixels(8).astype(np.float64)
    ours = x * np.array(scale) + np.array(offset)
    theirs = sys.modules[constructors.find(name).__module__].preprocess_input(x.copy())
    assert np.allclose(ours[..., ::-1] if bgr else ours, theirs, atol=1e-4)
    assert bgr == (name in ("VGG16", "ResNet50"))
    assert ((scale, offset) == (1.0, 0.0)) == (name == "EfficientNetB0")


def test_preprocessing_that_is_no_scale_and_offset_is_refused(monkeypatch):
    module = sys.modules[constructors.find("Xception").__module__]
    monkeypatch.setattr(module, "preprocess_input", lambda x: x**2)
    with pytest.raises(BaseError, match="input of Xception is more than a scale and an offset"):
        constructors.preprocessing("Xception")


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("MobileNetV2", (16, 24, 32, 96, 1280)),  # as in our own table: behind whole blocks, before expansions
        ("EfficientNetV2B0", (16, 32, 48, 112, 1280)),
        ("ResNet50V2", (64, 256, 512, 1024, 2048)),
    ],
)
def test_stages_end_where_the_resolution_halves(name, channels):
    body = graph.flat(constructors.build(name, 64))
    graph.measure(body, 64)
    ends = [body.calls[end].outputs[0].shape for end in stages.stage_ends(body)]
    assert [shape[1] for shape in ends] == [32, 16, 8, 4, 2]
    assert tuple(shape[3] for shape in ends) == channels


def test_names_are_the_same_in_every_process(saved):
    first = [layer.name for layer in built("keras:MobileNetV3Small", 32)[1].layers]
    constructors.build("MobileNetV3Small", 32)
    foreign.forget()
    assert [layer.name for layer in built("keras:MobileNetV3Small", 32)[1].layers] == first
    assert "stage1_rescaling" in first and first[-1] == "head_logits"


def test_batch_norms_follow_as_fast_as_ours():
    _, model = built("keras:MobileNetV3Small", 32)
    assert {layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)} == {0.9}


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("keras:EfficentNetV2B0", "no 'EfficentNetV2B0'. Did you mean keras:EfficientNetV2B0"),
        ("keras:vgg61", "Did you mean keras:VGG1[69] or keras:VGG1[69]"),
        ("keras:resnet", "is a module, not a model. It holds: keras:ResNet50, keras:ResNet101, keras:ResNet152"),
        ("keras:", "keras.applications has no ''"),
        ("keras:__name__", "has no '__name__'"),
        ("EfficientNetV2B0", "no architecture called 'EfficientNetV2B0'.*keras:NAME takes any constructor"),
    ],
)
def test_an_unknown_constructor_names_close_ones(base, message):
    with pytest.raises(UnknownNameError, match=message):
        bases.find(base)


def test_a_size_that_a_constructor_refuses_is_told_in_its_words():
    with pytest.raises(OptionError, match=r"keras:Xception can't take 64 pixels: .*at least 71x71.* --input-size"):
        bases.find("keras:Xception", input_size=64)


def test_foreign_bases_have_no_original_head():
    with pytest.raises(OptionError, match="keras:MobileNetV3Small is taken without its classifier.*--head gap"):
        registry.build(bases.find("keras:MobileNetV3Small", input_size=32), input_size=32, head="original")


# --- weights


@pytest.fixture
def small(tmp_path):
    """MobileNetV3Small at 32 pixels: the constructor's model with statistics, and its architecture."""
    return settled(constructors.build("MobileNetV3Small", 32)), bases.find("keras:MobileNetV3Small", input_size=32)


def loaded(architecture, path):
    model = registry.build(architecture, classes=3, input_size=32, head="gap")
    foreign_weights.load(model, architecture, str(path))
    return model


@pytest.mark.parametrize("name", ["w.weights.h5", "w.h5", "w.keras"])
def test_weights_are_read_in_every_format_of_the_constructor(small, tmp_path, name):
    original, architecture = small
    if name == "w.weights.h5":
        original.save_weights(tmp_path / name)
    else:
        save(original, tmp_path / name)
    x = pixels(32)
    wanted = original(x.astype(np.float32), training=False).numpy()
    assert np.allclose(features(loaded(architecture, tmp_path / name), x), wanted, atol=1e-5)


def test_weights_with_the_classifier_fit_too(tmp_path):
    whole = settled(keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=5))
    backbone = keras.Model(whole.input, whole.get_layer("block5_pool").output)
    save(whole, tmp_path / "vgg.h5")
    architecture = bases.find("keras:VGG16", input_size=32)
    x = pixels(32)
    bgr = x[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    wanted = backbone(bgr, training=False).numpy()
    model = loaded(architecture, tmp_path / "vgg.h5")
    assert np.allclose(features(model, x), wanted, atol=1e-4 * np.abs(wanted).max())
    model.save_weights(tmp_path / "ours.weights.h5")  # its first kernels are reversed already
    again = loaded(architecture, tmp_path / "ours.weights.h5")
    assert np.array_equal(features(again, x), features(model, x))


def test_weights_that_do_not_fit_are_refused(small, tmp_path):
    original, architecture = small
    constructors.build("MobileNet", 32).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(WeightsError, match="other.weights.h5 is not for keras:MobileNetV3Small.*notop"):
        loaded(architecture, tmp_path / "other.weights.h5")
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="junk.h5 can't be read as a weights file"):
        loaded(architecture, tmp_path / "junk.h5")
    with pytest.raises(WeightsError, match="no weights file: tlkit reads"):
        loaded(architecture, __file__)
    with pytest.raises(WeightsError, match="There is no weights file"):
        loaded(architecture, tmp_path / "absent.h5")
    with pytest.raises(OptionError, match="weights='base' is not for keras:MobileNetV3Small"):
        loaded(architecture, "base")
    layer = original.get_layer("conv")
    layer.set_weights([np.full_like(value, np.nan) for value in layer.get_weights()])
    original.save_weights(tmp_path / "nan.weights.h5")
    with pytest.raises(WeightsError, match="nan.weights.h5 has values in stage1_conv that are not numbers"):
        loaded(architecture, tmp_path / "nan.weights.h5")


def test_imagenet_is_the_constructors_own_file_in_keras_cache(small, tmp_path, monkeypatch):
    original, architecture = small
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    module = sys.modules[constructors.find("MobileNetV3Small").__module__]
    name = "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    with pytest.raises(DownloadError, match=rf"(?s)keras:MobileNetV3Small could not be.*{name}.*--freeze none"):
        loaded(architecture, "imagenet")
    models_folder().mkdir(parents=True)
    save(original, models_folder() / name)
    hashes = module.WEIGHTS_HASHES["small_224_1.0_float"]
    md5 = hashlib.md5((models_folder() / name).read_bytes()).hexdigest()
    monkeypatch.setitem(module.WEIGHTS_HASHES, "small_224_1.0_float", (hashes[0], md5))
    x = pixels(32)
    wanted = original(x.astype(np.float32), training=False).numpy()
    assert np.allclose(features(loaded(architecture, "imagenet"), x), wanted, atol=1e-5)


# --- files


def test_a_tutorials_model_is_opened_and_its_classifier_and_augmentation_left_out(saved):
    mine = tutorial(input_layers=[layers.Rescaling(1 / 127.5, -1)])
    path = saved(mine)
    architecture, model = built(path, 48)
    assert architecture.name == "mine.keras" and architecture.stages == ("stage1", "stage2", "stage3")
    assert [layer.name for layer in model.layers][:6] == [
        "input_image",
        "input_rescaling",
        "stage1_rescaling",
        "stage1_conv2d",
        "stage1_batch_normalization",
        "stage1_re_lu",
    ]
    assert any("augmentation is left out (random_flip" in remark for remark in architecture.remarks)
    assert any("classifier is replaced" in remark and "dense" in remark for remark in architecture.remarks)
    foreign_weights.load(model, architecture, "base")
    x = pixels(48)
    inner = keras.Model(mine.layers[-4].input, mine.layers[-4].output)
    assert np.allclose(features(model, x), inner(x / 127.5 - 1, training=False).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "front",
    [
        [layers.Rescaling(1 / 255)],
        [layers.Normalization(mean=[120.0, 115.0, 100.0], variance=[3000.0, 3000.0, 3000.0])],
        [keras.applications.mobilenet_v2.preprocess_input],
        [keras.applications.vgg16.preprocess_input],
    ],
    ids=["rescaling", "normalization", "divide", "subtract"],
)
def test_a_normalization_at_the_input_shows_what_it_takes(saved, front):
    assert bases.find(str(saved(tutorial(input_layers=front)))).foreign == "file"


@pytest.mark.parametrize("front", [[], [layers.Rescaling(2.0, -1)], [layers.Normalization(mean=0.5, variance=0.1)]])
def test_an_unknown_input_range_is_asked_for(saved, front):
    path = saved(tutorial(input_layers=front))
    with pytest.raises(OptionError, match=r"mine.keras does not say.*--base-input, one of: 0..255, 0..1, -1..1, torch"):
        bases.find(str(path))
    assert bases.find(str(path), base_input="0..1").options["base_input"] == "0..1"


@pytest.mark.parametrize("base_input", bases.BASE_INPUTS)
def test_base_input_makes_of_rgb_what_the_model_takes(saved, base_input):
    mine = tutorial()
    architecture, model = built(saved(mine), 48, base_input=base_input)
    foreign_weights.load(model, architecture, "base")
    x = pixels(48)
    mode = {"-1..1": "tf", "torch": "torch", "caffe": "caffe"}.get(base_input)
    if mode:
        given = keras.applications.imagenet_utils.preprocess_input(x.astype(np.float32), mode=mode)
    else:
        given = x / (255 if base_input == "0..1" else 1)
    backbone = mine.get_layer("backbone")
    wanted = backbone(given, training=False).numpy()
    assert np.allclose(features(model, x), wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


def test_base_input_is_checked():
    with pytest.raises(OptionError, match="--base-input takes 0..255, .*not '0..2'"):
        bases.find("mine.keras", base_input="0..2")
    with pytest.raises(OptionError, match="what keras:VGG16 takes is known"):
        bases.find("keras:VGG16", base_input="caffe")
    with pytest.raises(OptionError, match="what vgg16 takes is known"):
        bases.find("vgg16", base_input="caffe")


def test_a_base_input_that_the_graph_contradicts_is_refused(saved):
    path = str(saved(tutorial(input_layers=[layers.Rescaling(1 / 255)])))
    with pytest.raises(OptionError, match=r"--base-input 0..1 contradicts .*mine.keras: .* 0..255 itself.*Leave"):
        bases.find(path, base_input="0..1")
    assert bases.find(path, base_input="0..255").foreign == "file"


@pytest.mark.parametrize(
    "front",
    [
        [layers.Rescaling(1.0, [-123.68, -116.779, -103.939])],
        [layers.Rescaling(1.0, name="input_rescaling")],
        [layers.Rescaling(1.0), layers.Rescaling(1 / 255)],
    ],
    ids=["mean", "ours", "behind the identity"],
)
def test_a_run_of_ours_shows_that_it_takes_grey_levels(saved, front):
    path = saved(tutorial(input_layers=front))
    assert bases.find(str(path)).foreign == "file"
    with pytest.raises(OptionError, match="contradicts"):
        bases.find(str(path), base_input="torch")


@pytest.mark.parametrize("name", ["vgg16", "lenet5", "alexnet"])
def test_a_run_of_ours_is_a_base(tmp_path, name):
    size = registry.find(name).smallest("gap")
    ours = registry.build(name, classes=3, input_size=size, head="gap")
    path = results.save_model(settled(ours), tmp_path)
    architecture, model = built(path, size)
    foreign_weights.load(model, architecture, "base")
    assert np.allclose(features(model, pixels(size)), features(ours, pixels(size)), atol=1e-4)


def test_an_adapted_normalization_is_kept(saved):
    x = pixels(48)
    normalization = layers.Normalization()
    normalization.adapt(x.astype(np.float32))
    mine = tutorial(input_layers=[normalization])
    path = saved(mine)
    wanted = mine.get_layer("backbone")(normalization(x), training=False).numpy()
    architecture, model = built(path, 48)
    ours = next(layer for layer in model.layers if isinstance(layer, layers.Normalization))
    assert np.allclose(ours(x), normalization(x), atol=1e-5)  # with random weights, too
    foreign_weights.load(model, architecture, "base")
    assert np.allclose(features(model, x), wanted, atol=1e-5)


def stem_of(model, x):
    layer = next(layer for layer in model.layers if layer.name.endswith("stem_conv"))
    return keras.Model(model.input, layer.input)(x.astype(np.float32)).numpy()


def test_efficientnet_is_scaled_as_for_its_imagenet_weights(tmp_path, monkeypatch):
    original = constructors.build("EfficientNetB0", 32)
    normalization = next(layer for layer in original.layers if isinstance(layer, layers.Normalization))
    normalization.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
    original.save_weights(tmp_path / "w.weights.h5")
    module = sys.modules[constructors.find("EfficientNetB0").__module__]
    with monkeypatch.context() as patch:
        patch.setattr(module.file_utils, "get_file", lambda *_, **__: str(tmp_path / "w.weights.h5"))
        theirs = keras.applications.EfficientNetB0(include_top=False, input_shape=(32, 32, 3))
    next(layer for layer in theirs.layers if isinstance(layer, layers.Normalization)).finalize_state()
    architecture, model = built("keras:EfficientNetB0", 32)
    foreign_weights.load(model, architecture, str(tmp_path / "w.weights.h5"))
    x = pixels(32)
    standardized = (x / 255 - [0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225])
    assert np.allclose(stem_of(model, x)[:, :-1, :-1], standardized, atol=1e-4)
    assert np.allclose(stem_of(model, x), stem_of(theirs, x), atol=1e-5)
    model.save(tmp_path / "ours.keras")
    assert np.allclose(stem_of(keras.saving.load_model(tmp_path / "ours.keras"), x), stem_of(model, x), atol=1e-6)


@pytest.mark.slow
def test_graphs_are_those_for_imagenet_weights():
    different = []
    with without_weights():
        for name in constructors.names():
            size = 331 if name == "NASNetLarge" else 224 if name == "NASNetMobile" else constructors.sizes(name)[1]
            kinds = [
                [type(layer).__name__ for layer in model.layers]
                for model in (constructors.build(name, size), constructors._construct(name, size, None))
            ]
            if kinds[0] != kinds[1]:
                different.append(name)
                assert [*kinds[0][:3], *kinds[0][4:]] == kinds[1] and kinds[0][3] == "Rescaling"
    assert different == [f"EfficientNetB{i}" for i in range(8)]


def test_weights_of_a_deeper_network_are_refused(tmp_path):
    constructors.build("VGG19", 32).save_weights(tmp_path / "deep.weights.h5")
    save(constructors.build("VGG19", 32), tmp_path / "deep.h5")
    run = results.save_model(built("keras:VGG19", 32)[1], tmp_path)
    architecture = bases.find("keras:VGG16", input_size=32)
    for path, layer in ((tmp_path / "deep.h5", "block3_conv4"), (run, "stage3_block3_conv4")):
        with pytest.raises(WeightsError, match=f"not for keras:VGG16 but for a deeper network: .*16 .*{layer}.*13"):
            loaded(architecture, path)
    with pytest.raises(WeightsError, match="deep.weights.h5 is not for keras:VGG16"):
        loaded(architecture, tmp_path / "deep.weights.h5")


def test_a_file_that_does_not_fit_is_told_once(small, tmp_path, recwarn):
    constructors.build("MobileNet", 32).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(WeightsError, match="is not for keras:MobileNetV3Small"):
        loaded(small[1], tmp_path / "other.weights.h5")
    assert not [warning for warning in recwarn if "Skipping nested container" in str(warning.message)]


def test_a_base_is_read_once_and_freed(saved, monkeypatch):
    path, reads, real = saved(tutorial(input_layers=[layers.Rescaling(1 / 255)])), [], own_model.load

    def load(path):
        model = real(path)
        reads.append(weakref.ref(model))
        return model

    monkeypatch.setattr(own_model, "load", load)
    architecture = bases.find(str(path))  # as `plan` does without --input-size
    model = registry.build(architecture, classes=3, input_size=48, head="gap")
    foreign_weights.load(model, architecture, "base")
    assert len(reads) == 1
    gc.collect()
    assert reads[0]() is None


@pytest.mark.parametrize("name", ["_mine", "модель", "(копия) my model", "1"])
def test_names_are_ones_that_tensorflow_takes(saved, name):
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(image)
    for layer in ("my conv 8", "my-conv-8", "été"):
        x = layers.Conv2D(4, 3, name=layer)(x)
    path = saved(keras.Model(image, layers.Dense(2)(layers.Flatten()(x))), f"{name}.keras")
    architecture, model = built(path, 32)
    foreign_weights.load(model, architecture, "base")
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", one) for one in (model.name, *(x.name for x in model.layers)))
    assert [x.name for x in model.layers][3:6] == ["stage1_my_conv_8", "stage1_my_conv_8_2", "stage1__t_"]


@pytest.mark.parametrize("reused", [layers.ReLU(), layers.MaxPooling2D()], ids=["relu", "pool"])
def test_a_reused_layer_without_weights_ends_no_less_stages(saved, reused):
    image = keras.Input((64, 64, 3))
    x = layers.Rescaling(1 / 255)(image)
    for filters in (8, 16, 32):
        x = reused(layers.Conv2D(filters, 3, strides=2, padding="same")(x))
    path = saved(keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x))))
    architecture, model = built(path, 64)
    foreign_weights.load(model, architecture, "base")
    assert architecture.stages == ("stage1", "stage2", "stage3")
    wanted = keras.Model(image, x)(pixels(64)).numpy()
    assert np.allclose(features(model, pixels(64)), wanted, atol=1e-5)
    for count in (1, 2):
        parts = cut(model, architecture.stages[:count])
        found = parts.tail(parts.backbone(pixels(64).astype(np.float32)))
        assert np.allclose(found, model(pixels(64).astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize("normalized", [False, True])
def test_averaged_class_scores_are_no_features(saved, normalized):
    image = keras.Input((32, 32, 3))
    x = layers.ReLU(name="last")(layers.Conv2D(8, 3, strides=2)(layers.Rescaling(1 / 255)(image)))
    x = layers.Conv2D(5, 1, name="scores")(x)
    x = layers.BatchNormalization()(x) if normalized else x  # then they are features, as MobileNetV2's 1280 are
    path = saved(keras.Model(image, layers.GlobalAveragePooling2D()(layers.ReLU()(x))))
    architecture, model = built(path, 32)
    assert model.get_layer("head_pool").input.shape[-1] == (5 if normalized else 8)
    assert ("that is scores" in architecture.remarks[0]) != normalized


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path):
    for name in ("config.json", "metadata.json", "model.weights.h5"):
        path = tmp_path / f"{name}.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(name, b" " * (65 * 2**20))
        with pytest.raises(BaseError, match=rf"its {name} of .* bytes would become 68,157,440"):
            bases.find(str(path))
    with pytest.raises(WeightsError, match="its model.weights.h5 of .* bytes would become 68,157,440"):
        loaded(bases.find("keras:MobileNetV3Small", input_size=32), path)


def test_blue_first_needs_a_convolution_at_the_input(saved):
    image = keras.Input((32, 32, 3))
    x = layers.SeparableConv2D(8, 3, strides=2)(image)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, strides=2)(x))
    path = saved(keras.Model(image, layers.Dense(2)(x)))
    with pytest.raises(BaseError, match=r"begins with a SeparableConv2D .* where a Conv2D is needed"):
        bases.find(str(path), base_input="caffe")


def test_shared_layers_stay_in_one_stage(saved):
    image = keras.Input((64, 64, 3))
    shared = layers.Conv2D(8, 3, strides=2, padding="same", name="shared")
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="first")(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="last")(layers.ReLU()(shared(shared(x))))
    mine = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    architecture, model = built(saved(mine), 64, base_input="0..1")
    assert [layer.name for layer in model.layers if "shared" in layer.name] == ["stage2_shared"]
    assert architecture.stages == ("stage1", "stage2", "stage3")
    foreign_weights.load(model, architecture, "base")
    wanted = keras.Model(image, x)(pixels(64) / 255, training=False).numpy()
    assert np.allclose(features(model, pixels(64)), wanted, atol=1e-5)
    parts = cut(model, ("stage1", "stage2"))
    assert parts.backbone.output.shape == (None, 8, 8, 8)


def test_a_sequential_and_operations_that_are_no_layers_work(saved):
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2)(image / 255)
    x = keras.ops.relu(x) * 0.5
    mine = keras.Model(image, layers.Dense(2)(layers.GlobalMaxPooling2D()(x)))
    architecture, model = built(saved(mine), 32)
    foreign_weights.load(model, architecture, "base")
    assert np.allclose(features(model, pixels(32)), keras.Model(image, x)(pixels(32)).numpy(), atol=1e-5)
    assert cut(model, architecture.stages).boundary == "head_pool"
    head = [layers.Flatten(), layers.Dense(2)]
    path = saved(keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255), layers.Conv2D(8, 3), *head]))
    assert built(path, 32)[0].stages == ("stage1",)


def test_another_size_than_the_models_own_is_taken(saved):
    path = saved(tutorial(size=48, input_layers=[layers.Rescaling(1 / 255)]))
    assert bases.find(str(path)).input_size == 48
    assert built(path, 64)[1].input.shape == (None, 64, 64, 3)
    with pytest.raises(BaseError, match="can't take 2 pixels"):
        image = keras.Input((32, 32, 3))
        x = layers.Conv2D(8, 7)(layers.Rescaling(1 / 255)(image))
        bases.find(str(saved(keras.Model(image, layers.Dense(2)(layers.Flatten()(x))))), input_size=2)


class Own(layers.Layer):
    """Not registered."""

    def call(self, x):
        return x


class Subclassed(keras.Model):
    def __init__(self, **rest):
        super().__init__(**rest)
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def model_on(shape, make):
    image = keras.Input(shape)
    return keras.Model(image, make(image))


def two_inputs():
    images = [keras.Input((32, 32, 3)), keras.Input((32, 32, 3))]
    return keras.Model(images, layers.Dense(2)(layers.Flatten()(layers.Add()(images))))


def two_outputs():
    image = keras.Input((32, 32, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3)(image))
    return keras.Model(image, [layers.Dense(2)(x), layers.Dense(3)(x)])


def tokens(image):
    """Patches as a transformer takes them."""
    x = layers.Reshape((16, 8))(layers.Conv2D(8, 8, strides=8)(image))
    return layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 4)(x, x)))


WRONG = {
    "lambda": (lambda: model_on((32, 32, 3), lambda x: layers.Lambda(lambda y: y / 255)(x)), "holds code: the Lambda"),
    "two inputs": (two_inputs, "has 2 inputs"),
    "two outputs": (two_outputs, "has 2 outputs"),
    "grey": (lambda: model_on((28, 28, 1), lambda x: layers.Flatten()(x)), "not RGB images"),
    "no image": (lambda: model_on((10,), lambda x: layers.Dense(2)(x)), r"takes \(None, 10\), not RGB images"),
    "no map": (lambda: model_on((8, 8, 3), lambda x: layers.Dense(2)(layers.Flatten()(x))), "has no feature map"),
    "tokens": (lambda: model_on((32, 32, 3), tokens), "does more than classify behind its last feature map"),
    "custom": (
        lambda: model_on((8, 8, 3), lambda x: Own()(layers.Conv2D(4, 3)(x))),
        "can't be loaded: .*Own.*tlkit.finetune from Python",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_model_that_can_be_no_base_says_why(saved, what):
    make, message = WRONG[what]
    with pytest.raises(BaseError, match=message):
        bases.find(str(saved(make())), base_input="0..1")


def test_a_file_that_is_no_model_says_what_it_is(saved, tmp_path):
    path = saved(tutorial())
    with pytest.raises(BaseError, match="There is no model .*absent.keras"):
        bases.find(str(tmp_path / "absent.keras"))
    with pytest.raises(BaseError, match="is a folder, not a .keras file"):
        bases.find(f"{tmp_path}/")
    save(tutorial(), tmp_path / "old.h5")
    for name in ("old.h5", "old.keras"):
        (tmp_path / name).write_bytes((tmp_path / "old.h5").read_bytes())
        with pytest.raises(BaseError, match="is HDF5, the format of before Keras 3"):
            bases.find(str(tmp_path / name))
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(BaseError, match="is no .keras file"):
        bases.find(str(tmp_path / "model.tflite"))
    for content in (b"", b"junk", path.read_bytes()[:1000]):
        (tmp_path / "junk.keras").write_bytes(content)
        with pytest.raises(BaseError, match="junk.keras is no Keras model, or is damaged"):
            bases.find(str(tmp_path / "junk.keras"))
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", '{"class_name": "list", "config": {}}')
    with pytest.raises(BaseError, match="empty.keras can't be loaded"):
        bases.find(str(tmp_path / "empty.keras"))


def test_a_subclassed_model_says_why(tmp_path):
    with keras.saving.custom_object_scope({"Subclassed": Subclassed}):
        model = Subclassed()
        model(np.zeros((1, 4), np.float32))
        model.save(tmp_path / "mine.keras")
        with pytest.raises(BaseError, match="was made by subclassing keras.Model"):
            bases.find(str(tmp_path / "mine.keras"))


def test_every_constructor_has_a_preprocessing():
    for name in constructors.names():
        module = sys.modules[constructors.find(name).__module__]
        assert inspect.isfunction(module.preprocess_input)
        assert len(constructors.preprocessing(name)) == 2
