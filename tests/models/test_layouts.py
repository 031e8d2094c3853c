"""From other layouts to ours: what a network computes must not change."""

import json
import zipfile
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from safetensors.numpy import save_file

from tlkit.convert.tflite_runtime import TfliteModel
from tlkit.convert.to_tflite import tflite_from_keras
from tlkit.errors import WeightsError
from tlkit.models import lenet, mobilenet_v2, registry
from tlkit.models.origins import STANDARDIZED, SYMMETRIC, Origin
from tlkit.models.weights import load_weights

from .test_architectures import photos, randomized
from .torch_files import write_state_dict


def lively(model):
    """Random weights with which the output depends on the input: kernels as large as He et al. make them."""
    randomized(model)
    random = np.random.default_rng(1)
    for layer in model.layers:
        values = layer.get_weights()
        if values and values[0].ndim > 1:
            fan_in = np.prod(values[0].shape[:2]) if "depthwise" in layer.name else np.prod(values[0].shape[:-1])
            layer.set_weights([random.normal(0, (2 / fan_in) ** 0.5, values[0].shape), *values[1:]])
    return model


def torch_name(layer):
    return f"features.{layer}"


def torch_state(model):
    """Writes our own weights the way PyTorch would hold them."""
    state = {}
    maps = {}
    for before, layer in zip(model.layers, model.layers[1:], strict=False):
        if isinstance(before, keras.layers.Flatten):
            maps[layer.name] = before.input.shape[1:]
    for layer in model.layers:
        values, name = layer.get_weights(), torch_name(layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            state |= {f"{name}.{part}": value for part, value in zip(names, values, strict=True)}
            state[f"{name}.num_batches_tracked"] = np.zeros((), np.int64)
        elif values:
            kernel = values[0]
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                height, width, channels, multiplier = kernel.shape
                kernel = np.moveaxis(kernel.reshape(height, width, channels * multiplier), 2, 0)[:, None]
            elif kernel.ndim == 4:
                kernel = np.moveaxis(np.moveaxis(kernel, 2, 0), 3, 0)
            elif layer.name in maps:
                height, width, channels = maps[layer.name]
                kernel = np.moveaxis(kernel.reshape(height, width, channels, -1), 2, 0).reshape(kernel.shape).T
            else:
                kernel = kernel.T
            state[f"{name}.weight"] = np.ascontiguousarray(kernel)
            if len(values) == 2:
                state[f"{name}.bias"] = values[1]
    return state


def taking_torch(monkeypatch, name, module):
    """An architecture for whose family somebody publishes PyTorch weights."""
    origin = Origin(name_of=torch_name, normalization=STANDARDIZED, torch=True)
    monkeypatch.setattr(module, "ORIGINS", {"torch": origin}, raising=False)
    return replace(registry.find(name), origins=("torch",))


def write(path, state):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        write_state_dict(path, state, legacy=path.name == "legacy.pth")


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "zip.pt", "a.safetensors"])
@pytest.mark.parametrize(("base", "module", "options"), [("lenet5", lenet, {}), ("mobilenet_v2", mobilenet_v2, {})])
def test_torch_layouts_come_back_as_they_were(monkeypatch, tmp_path, base, module, options, name):
    """Convolutions, depthwise ones, batch norm, dense layers, and the first of them after a flattened map."""
    architecture = taking_torch(monkeypatch, base, module)
    size = 28 if base == "lenet5" else 32
    source = lively(registry.build(base, classes=5, input_size=size))
    write(tmp_path / name, torch_state(source))
    ours = registry.build(base, classes=5, input_size=size)
    assert load_weights(ours, architecture, tmp_path / name).head
    assert all(map(np.array_equal, ours.get_weights(), source.get_weights()))


def test_sixteen_bits_are_read(monkeypatch, tmp_path):
    import ml_dtypes

    architecture = taking_torch(monkeypatch, "lenet5", lenet)
    source = lively(registry.build("lenet5", classes=5))
    for dtype in (ml_dtypes.bfloat16, np.float16):
        state = {name: value.astype(dtype) for name, value in torch_state(source).items()}
        save_file(state, tmp_path / "a.safetensors")
        ours = registry.build("lenet5", classes=5)
        load_weights(ours, architecture, tmp_path / "a.safetensors")
        for a, b in zip(ours.get_weights(), source.get_weights(), strict=True):
            assert np.array_equal(a, b.astype(dtype).astype(np.float32))


def test_the_input_is_normalized_as_the_weights_were_trained_with(monkeypatch, tmp_path):
    """And stays so in a saved model, its weights file with config, and the artifact."""
    architecture = taking_torch(monkeypatch, "lenet5", lenet)
    source = lively(registry.build("lenet5", classes=5, activation="relu"))
    write_state_dict(tmp_path / "a.pth", torch_state(source))
    ours = registry.build("lenet5", classes=5, activation="relu")
    load_weights(ours, architecture, tmp_path / "a.pth")
    x = photos(28)
    layer = ours.get_layer("input_rescaling")
    expected = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.abs(keras.ops.convert_to_numpy(layer(x)) - expected).max() < 1e-5
    logits = ours.predict(x, verbose=0)
    assert np.abs(logits - source.predict(x, verbose=0)).max() > 0.01

    ours.save(tmp_path / "ours.keras")
    reopened = keras.saving.load_model(tmp_path / "ours.keras", compile=False)
    assert np.abs(reopened.predict(x, verbose=0) - logits).max() < 1e-5
    again = registry.build("lenet5", classes=5, activation="relu")
    load_weights(again, registry.find("lenet5"), tmp_path / "ours.keras")
    assert np.abs(again.predict(x, verbose=0) - logits).max() < 1e-5

    (tmp_path / "a.tflite").write_bytes(tflite_from_keras(again, precision="float32"))
    found = np.stack(list(TfliteModel(tmp_path / "a.tflite").predict_all(x.astype(np.uint8))))
    assert np.abs(found - logits).max() < 1e-4


def test_a_weights_file_of_ours_leaves_the_architectures_own_normalization(tmp_path):
    source = registry.build("mobilenet_v2", classes=5, input_size=32)
    source.save_weights(tmp_path / "a.weights.h5")
    load_weights(source, registry.find("mobilenet_v2"), tmp_path / "a.weights.h5")
    layer = source.get_layer("input_rescaling")
    assert (layer.scale, layer.offset) == SYMMETRIC


@pytest.mark.parametrize("value", ["NaN", '"1"', "[1, 2]", "true", "{}"])
def test_a_normalization_that_is_no_numbers_is_refused(tmp_path, value):
    source = registry.build("mobilenet_v2", classes=5, input_size=32)
    source.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    for layer in config["config"]["layers"]:
        if layer["name"] == "input_rescaling":
            layer["config"]["scale"] = json.loads(value)
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        for name, content in (parts | {"config.json": json.dumps(config)}).items():
            archive.writestr(name, content)
    before = source.get_weights()
    with pytest.raises(WeightsError, match="normalizes its input by .*, not by numbers"):
        load_weights(source, registry.find("mobilenet_v2"), tmp_path / "b.keras")
    assert all(map(np.array_equal, before, source.get_weights()))


@pytest.mark.parametrize("config", ["[" * 100_000, "{", "\xff"])
def test_a_broken_config_is_refused(tmp_path, config):
    source = registry.build("mobilenet_v2", classes=5, input_size=32)
    source.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("model.weights.h5", weights)
        archive.writestr("config.json", config.encode("latin-1"))
    with pytest.raises(WeightsError, match="can't be read as a weights file"):
        load_weights(source, registry.find("mobilenet_v2"), tmp_path / "b.keras")


def with_biases(layer):
    """Our convolutions, but with biases, as Keras' ResNets have them; the final layer is a 1x1 convolution."""
    config = layer.get_config()
    if type(layer) is keras.layers.Conv2D:
        config["use_bias"] = True
    return type(layer).from_config(config)


def test_biases_are_folded_into_batch_normalization(tmp_path):
    ours = registry.build("mobilenet_v2", classes=5, input_size=32)
    theirs = lively(keras.models.clone_model(ours, clone_function=with_biases))
    theirs.save(tmp_path / "a.keras")
    assert load_weights(ours, registry.find("mobilenet_v2"), tmp_path / "a.keras").head
    x = photos(32)
    expected = theirs(x, training=False).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    assert np.abs(ours(x, training=False).numpy() - expected).max() < 1e-4
    biases = theirs.get_layer("stem_conv").get_weights()[1]
    assert np.abs(biases).max() > 0.1


def test_a_final_1x1_convolution_is_taken_for_a_dense_layer(tmp_path):
    source = lively(registry.build("mobilenet_v2", classes=5, input_size=32))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, source)
        path = next(name for name in file["head_logits"].attrs["weight_names"] if "kernel" in str(name))
        kernel = file["head_logits"][path][()]
        del file["head_logits"][path]
        file["head_logits"][path] = kernel[None, None]
    ours = registry.build("mobilenet_v2", classes=5, input_size=32)
    assert load_weights(ours, registry.find("mobilenet_v2"), tmp_path / "a.h5").head
    assert all(map(np.array_equal, ours.get_weights(), source.get_weights()))


def test_torch_files_for_a_family_without_are_refused(tmp_path):
    write_state_dict(tmp_path / "a.pth", {"conv.weight": np.zeros((2, 3, 3, 3), np.float32)})
    ours = registry.build("mobilenet_v2", classes=5, input_size=32)
    with pytest.raises(WeightsError, match="layout of PyTorch; of the mobilenet_v2 family only Keras' files are read"):
        load_weights(ours, registry.find("mobilenet_v2"), tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: {"features.stage1_conv.weight": s["features.stage2_conv.weight"]},
            "its features.stage1_conv has the",
        ),
        (lambda s: {"features.stage2_conv.weight": np.full((16, 6, 5, 5), np.nan, np.float32)}, "that are not numbers"),
        (lambda s: {"features.stage2_conv.weight": np.full((16, 6, 5, 5), 1e300)}, "that are not numbers"),
        (lambda s: {"features.stage2_conv.running_mean": np.zeros(16, np.float32)}, "has 3 tensors, 2 are needed"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_torch_weights_that_do_not_fit_change_nothing(monkeypatch, tmp_path, change, message, name):
    architecture = taking_torch(monkeypatch, "lenet5", lenet)
    ours = registry.build("lenet5", classes=5)
    state = torch_state(registry.build("lenet5", classes=5))
    write(tmp_path / name, state | change(state))
    before = ours.get_weights()
    with pytest.raises(WeightsError, match=message):
        load_weights(ours, architecture, tmp_path / name)
    assert all(map(np.array_equal, before, ours.get_weights()))
    assert ours.get_layer("input_rescaling").scale != [1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)]


@pytest.mark.parametrize("length", [7, 8, 100, -1])
def test_safetensors_that_are_cut_off_are_refused(monkeypatch, tmp_path, length):
    architecture = taking_torch(monkeypatch, "lenet5", lenet)
    write(tmp_path / "a.safetensors", torch_state(registry.build("lenet5", classes=5)))
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:length])
    with pytest.raises(WeightsError, match="b.safetensors is cut off or broken"):
        load_weights(registry.build("lenet5", classes=5), architecture, tmp_path / "b.safetensors")


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn", "mobilenet_v1"])
@pytest.mark.parametrize("sizes", [(96, 97), (97, 96)])
def test_our_own_model_of_another_input_size_is_taken_though_its_paddings_differ(tmp_path, name, sizes):
    there, here = sizes
    saved = registry.build(name, classes=3, input_size=there, head="gap")
    saved.save(tmp_path / "a.keras")
    model = registry.build(name, classes=3, input_size=here, head="gap")
    assert load_weights(model, registry.find(name), tmp_path / "a.keras").head
    assert all(map(np.array_equal, model.get_weights(), saved.get_weights()))
