"""Contract 3 on real files in the real runtime."""

import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.convert import export as module
from tlkit.convert.calibration import Calibration, calibration_set
from tlkit.convert.export import export
from tlkit.convert.layer_errors import layer_of, worst_layers
from tlkit.convert.limits import LIMITS
from tlkit.convert.options import ExportOptions
from tlkit.convert.tflite_file import check_int8, float_operations, operations
from tlkit.convert.tflite_pack import unpack
from tlkit.convert.tflite_runtime import TfliteModel
from tlkit.convert.to_tflite import check_raw_input, tflite_from_keras
from tlkit.data.calibration import choose
from tlkit.data.recorded import photos_of
from tlkit.errors import DataError, OptionError, ParityError, RunError, TlkitError
from tlkit.manifest import read_manifest, sha256_of
from tlkit.models import registry
from tlkit.preprocess import PreprocessSpec

from ..conftest import settled


@pytest.fixture
def loaded(run):
    manifest = read_manifest(run)
    spec = PreprocessSpec.from_dict(manifest["preprocess"])
    return run, manifest, spec, Path(manifest["data"]["root"])


def calibration(manifest, spec, root, count=60):
    return calibration_set(root, choose(photos_of(manifest, "train"), count, seed=0), spec)


@pytest.mark.parametrize("precision", LIMITS)
def test_an_artifact_is_proven_described_and_recorded(loaded, precision):
    run, manifest, _, _ = loaded
    entry = export(run, ExportOptions(precision=precision))
    path = run / "artifacts" / f"model.{precision}.tflite"
    assert entry == read_manifest(run)["artifacts"][0]
    assert (entry["sha256"], entry["bytes"]) == (sha256_of(path), path.stat().st_size)
    assert entry["parity"]["images"] == len(photos_of(manifest, "val", "test"))
    assert entry["runtime"]["name"] == "ai-edge-litert"
    assert entry["min_runtime"]
    assert entry["input"]["dtype"] == "uint8"
    assert entry["input"]["shape"] == [1, 28, 28, 3]
    sidecar = json.loads((run / "artifacts" / f"model.{precision}.tflite.json").read_text())
    assert sidecar["classes"] == manifest["classes"]
    assert sidecar["preprocess"] == manifest["preprocess"]
    assert {key: sidecar[key] for key in entry} == entry
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.json"]
    assert (entry["float_ops"] is None) == (entry["calibration"] is None) == (precision != "int8")


def test_labels_and_preprocessing_are_inside_the_file(loaded):
    run, manifest, spec, _ = loaded
    export(run, ExportOptions())
    path = run / "artifacts" / "model.float32.tflite"
    labels, about = unpack(path)
    assert labels == manifest["classes"]
    assert PreprocessSpec.from_dict(about["preprocess"]) == spec
    assert zipfile.ZipFile(path).namelist() == ["labels.txt", "tlkit.json"]
    assert TfliteModel(path).predict(np.zeros((28, 28, 3), np.uint8)).shape == (10,)


def test_the_same_pixels_give_the_probabilities_of_keras(loaded):
    run, manifest, spec, root = loaded
    export(run, ExportOptions())
    artifact = TfliteModel(run / "artifacts" / "model.float32.tflite")
    model = keras.saving.load_model(run / "model.keras", compile=False)
    pixels = np.stack([spec.load(root / p.path) for p in photos_of(manifest, "test")[:20]])
    expected = model.predict_on_batch(pixels.astype(np.float32))
    assert np.abs(np.array(list(artifact.predict_all(pixels))) - expected).max() < 1e-5


def test_int8_takes_raw_pixels_with_scale_one_and_zero_point_zero(loaded):
    run, _, _, _ = loaded
    entry = export(run, ExportOptions(precision="int8", calibration=50))
    assert (entry["input"]["scale"], entry["input"]["zero_point"]) == (1.0, 0)
    assert entry["output"]["dtype"] == "uint8"
    assert entry["parity"]["top1_agreement"] >= 0.97
    assert entry["calibration"]["images"] == 50
    assert entry["float_ops"] == []


def test_without_the_extreme_frame_raw_pixels_would_be_misread(loaded):
    """Facts Q11: the reason for the frame, and that the check on the file sees it."""
    _, manifest, spec, root = loaded
    frames = calibration(manifest, spec, root)
    model = keras.saving.load_model(loaded[0] / "model.keras", compile=False)
    dull = type(frames)(pixels=np.clip(frames.pixels, 12, 243), sha256="")
    described = TfliteModel(tflite_from_keras(model, precision="int8", calibration=dull)).describe()
    assert described["input"]["scale"] != 1.0
    with pytest.raises(TlkitError, match="raw pixels would be misread"):
        check_raw_input(described["input"])


def test_calibration_photos_come_evenly_from_every_class_of_train(loaded):
    _, manifest, spec, root = loaded
    train = photos_of(manifest, "train")
    chosen = choose(train, 45, seed=0)
    counts = np.bincount([photo.label for photo in chosen])
    assert counts.min() >= 4
    assert counts.max() <= 5
    assert {p.sha256 for p in chosen} <= {p.sha256 for p in train}
    assert choose(train[::-1], 45, seed=0) == chosen
    frames = calibration_set(root, chosen, spec)
    assert frames.pixels.shape == (46, 28, 28, 3)
    assert (frames.pixels[-1].min(), frames.pixels[-1].max()) == (0, 255)
    assert np.array_equal(frames.pixels[0], spec.load(root / chosen[0].path))
    assert (frames.pixels[-1] != frames.pixels[0]).any(axis=-1).sum() <= 2


def test_a_float_convolution_in_an_int8_file_is_refused(loaded):
    model = keras.saving.load_model(loaded[0] / "model.keras", compile=False)
    content = tflite_from_keras(model, precision="float32")
    assert {"CONV_2D", "FULLY_CONNECTED"} <= set(float_operations(content))
    assert len(operations(content)) > 5
    with pytest.raises(TlkitError, match="left 5 operations with weights in float: CONV_2D"):
        check_int8(content)


@pytest.fixture
def spoiled(monkeypatch):
    """Makes the reference disagree with any file that could be converted."""
    right = module.reference_probabilities
    monkeypatch.setattr(module, "reference_probabilities", lambda *a: right(*a)[:, ::-1])


@pytest.mark.parametrize("precision", LIMITS)
def test_a_limit_that_cant_be_met_leaves_no_artifact(loaded, precision, spoiled):
    run, _, _, _ = loaded
    with pytest.raises(ParityError, match=f"model.{precision}.tflite was not made. On 538 photos that training"):
        export(run, ExportOptions(precision=precision, calibration=20))
    assert not (run / "artifacts").exists()
    assert read_manifest(run)["artifacts"] == []


def collapsed(run):
    """Makes a model that int8 can't hold: the logits are shifted so far that they share one step."""
    model = keras.saving.load_model(run / "model.keras", compile=False)
    layer = model.get_layer("head_logits")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + 3000])
    model.save(run / "model.keras")


def test_an_int8_that_collapses_names_the_worst_layers_and_what_to_try(loaded):
    run, _, _, _ = loaded
    collapsed(run)
    with pytest.raises(ParityError, match=r"that lose most: \w+ \(SQNR [\d.]+ dB\).*--calibration 40\), or --prec"):
        export(run, ExportOptions(precision="int8", calibration=20))


def test_an_int8_that_falls_short_by_little_says_how_to_accept_it(loaded):
    run, _, _, _ = loaded
    with pytest.raises(ParityError, match=r"accept it with --min-agreement 0.9\d --max-drop 0.0\d") as caught:
        export(run, ExportOptions(precision="int8", calibration=20, min_agreement=1.0, max_drop=0.0))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("precision", LIMITS)
def test_overrides_accept_and_are_recorded(loaded, precision, spoiled):
    run, _, _, _ = loaded
    entry = export(run, ExportOptions(precision=precision, calibration=20, min_agreement=0.0, max_drop=1.0))
    assert entry["parity"]["limit"]["min_agreement"] == 0.0
    assert entry["parity"]["limit"]["max_drop"] == 1.0


def spoiled_network():
    """A network of which one channel in the middle takes the whole range of its tensor."""
    keras.utils.set_random_seed(0)
    model = settled(registry.build("mobilenet_v2", classes=4, input_size=32, head="gap"))
    norm = model.get_layer("stage3_block1_project_bn")
    gamma, *rest = norm.get_weights()
    gamma[0] = 2000
    norm.set_weights([gamma, *rest])
    return keras.Model(model.input, keras.layers.Softmax()(model.output))


@pytest.mark.parametrize("precision", ["dynamic", "int8"])
def test_the_worst_layer_is_the_one_that_was_spoiled(precision):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    frames = Calibration(pixels=pixels, sha256="")
    model = spoiled_network()
    files = [tflite_from_keras(model, precision=one, calibration=frames) for one in ("float32", precision)]
    ratios = worst_layers(*files, pixels[:4], most=100)
    names = [name for name, _ in ratios]
    clean = [name for name in names if name.startswith(("stem", "stage1", "stage2"))]
    assert len(clean) > 5
    assert all(names.index("stage3_block2_expand_relu6") < names.index(name) for name in clean)


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [
        ("mobilenet_v2_1/stage5_block4_project_bn_1/batchnorm/sub1", "stage5_block4_project_bn"),
        ("vgg16_1/stage1_conv1_1/Relu;vgg16_1/stage1_conv1_1/add", "stage1_conv1"),
        ("lenet5_1/head_logits_1/MatMul;x", "head_logits"),
        ("something", "something"),
    ],
)
def test_layers_are_named_as_in_the_model(tensor, layer):
    assert layer_of(tensor) == layer


def test_export_again_replaces_the_artifact(loaded):
    run, _, _, _ = loaded
    for count in (20, 30):
        export(run, ExportOptions(precision="int8", calibration=count))
    (entry,) = read_manifest(run)["artifacts"]
    assert entry["calibration"]["images"] == 30


def test_without_saved_predictions_the_model_runs_again(loaded):
    run, _, _, _ = loaded
    before = export(run, ExportOptions())["parity"]
    whole = (run / "predictions.npz").read_bytes()
    for content in (None, b"", whole[:900], b"PK"):
        (run / "predictions.npz").unlink()
        if content is not None:
            (run / "predictions.npz").write_bytes(content)
        after = export(run, ExportOptions())["parity"]
        assert after["accuracy"] == before["accuracy"]
        assert after["max_probability_difference"] < 1e-4
        (run / "predictions.npz").touch()


def test_saved_predictions_of_another_model_are_noticed(loaded):
    run, _, _, _ = loaded
    saved = dict(np.load(run / "predictions.npz"))
    saved["probabilities"] = saved["probabilities"][:, ::-1]
    np.savez(run / "predictions.npz", **saved)
    assert export(run, ExportOptions())["parity"]["max_probability_difference"] < 1e-4


def test_two_exports_at_once_are_both_recorded(loaded, monkeypatch):
    run, _, _, _ = loaded
    prove = module._prove

    def with_another(*args):
        monkeypatch.setattr(module, "_prove", prove)
        export(run, ExportOptions(precision="int8", calibration=20))
        return prove(*args)

    monkeypatch.setattr(module, "_prove", with_another)
    export(run, ExportOptions())
    assert {a["precision"] for a in read_manifest(run)["artifacts"]} == {"float32", "int8"}


def test_moved_photos_are_found_by_their_contents(loaded, tmp_path, monkeypatch):
    run, manifest, _, root = loaded
    moved = tmp_path / "moved"
    moved.mkdir()
    for i, path in enumerate(sorted(root.rglob("*.png"))):
        shutil.copy(path, moved / f"{i}.png")
    lost = json.loads((run / "run.json").read_text())
    lost["data"]["root"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(lost))
    with pytest.raises(DataError, match=r"538 of 538 photos of this run are not in .*gone any more.*--data NEWROOT"):
        export(run, ExportOptions())
    assert export(run, ExportOptions(data=str(moved)))["parity"]["images"] == 538
    with pytest.raises(DataError, match="There is no folder .*nothing. Give --data the folder"):
        export(run, ExportOptions(data=tmp_path / "nothing"))
    next(moved.iterdir()).unlink()
    for path in list(moved.iterdir())[:900]:
        path.write_bytes(path.read_bytes() + b"edited")
    with pytest.raises(DataError, match="photos of this run are nowhere in .*renamed but not edited"):
        export(run, ExportOptions(data=moved))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"to": "onx"}, "--to takes tflite, not 'onx'"),
        ({"precision": "int9"}, "--precision takes float32, float16, dynamic or int8, not 'int9'. Did you mean int8"),
        ({"min_agreement": 97.0}, "--min-agreement is a fraction from 0 to 1, not 97.0"),
        ({"max_drop": -0.1}, "--max-drop is a fraction"),
        ({"calibration": 3}, "--calibration needs at least 10 photos, not 3"),
    ],
)
def test_options_that_cant_be_are_refused(run, values, message):
    with pytest.raises(OptionError, match=message):
        export(run, ExportOptions(**values))
    assert not (run / "artifacts").exists()


def test_a_missing_or_broken_model_is_refused(loaded):
    run, _, _, _ = loaded
    whole = (run / "model.keras").read_bytes()
    flipped = bytes(255 - b if len(whole) // 2 < i < len(whole) // 2 + 400 else b for i, b in enumerate(whole))
    for content in (b"PK not really", whole[: len(whole) // 2], flipped):
        (run / "model.keras").write_bytes(content)
        with pytest.raises(RunError, match="model.keras can't be loaded"):
            export(run, ExportOptions())
    (run / "model.keras").unlink()
    with pytest.raises(RunError, match="model.keras is missing. Restore it"):
        export(run, ExportOptions())


def test_a_model_that_would_run_code_when_loaded_is_refused(loaded):
    run, _, _, _ = loaded
    image = keras.Input((28, 28, 3))
    keras.Model(image, keras.layers.Lambda(lambda x: x)(image)).save(run / "model.keras")
    with pytest.raises(RunError, match="model.keras can't be loaded .*Lambda"):
        export(run, ExportOptions())


def test_a_killed_conversion_leaves_nothing(loaded, monkeypatch):
    run, _, _, _ = loaded
    monkeypatch.setattr(module, "_prove", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        export(run, ExportOptions())
    assert not (run / "artifacts").exists()
