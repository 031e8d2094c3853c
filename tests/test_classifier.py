"""Runs and artifacts classify alike, and a file that is none is refused by a sentence."""

import os
import signal
import zipfile

import numpy as np
import pytest

from tlkit.classifier import KerasClassifier, TfliteClassifier, open_classifier
from tlkit.convert import tflite_process
from tlkit.convert.tflite_pack import pack, unpack
from tlkit.errors import RunError, TlkitError

BLANK = np.zeros((2, 28, 28, 3), np.uint8)


def model_alone(artifact):
    """Returns the bytes of a .tflite file without what tlkit packs behind them."""
    with zipfile.ZipFile(artifact) as archive:
        return artifact.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]


def repacked(artifact, path, *, labels=None, **changes):
    """Writes the same model with other labels or another preprocessing."""
    own, about = unpack(artifact)
    path.write_bytes(model_alone(artifact))
    pack(path, labels=own if labels is None else labels, about=about | changes)
    return path


def test_an_artifact_and_its_run_give_the_same_probabilities(run, artifact):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 28, 28, 3), np.uint8)
    with open_classifier("lenet", run.parent) as keras, open_classifier(artifact) as lite:
        assert isinstance(keras, KerasClassifier) and isinstance(lite, TfliteClassifier)
        assert (keras.classes, keras.spec) == (lite.classes, lite.spec)
        assert (keras.kind, lite.kind, lite.manifest) == ("run", "artifact", None)
        expected = keras.probabilities(pixels)
        assert expected.shape == (70, 10)
        assert np.abs(lite.probabilities(pixels) - expected).max() < 1e-5
        assert lite.probabilities(pixels[:0]).shape == (0, 10)


def test_a_run_folder_may_be_called_like_a_file(run, tmp_path):
    folder = run.rename(tmp_path / "odd.tflite")
    assert open_classifier(folder).kind == "run"
    with pytest.raises(RunError, match="There is no run 'x.onnx'"):
        open_classifier("x.onnx", tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: b"", "m.tflite is empty. Export one with: tlkit export --to tflite"),
        (lambda whole: np.random.default_rng(0).bytes(5000), "m.tflite is not a TensorFlow Lite model"),
        (lambda whole: b"Dear diary,\n" * 40, "m.tflite is not a TensorFlow Lite model"),
        (lambda whole: whole[: len(whole) // 2], "carries no labels of tlkit's: it is of another origin, or cut off"),
        (lambda whole: whole[:-10], "carries no labels of tlkit's: it is of another origin, or cut off"),
        (
            lambda whole: whole[:20] + b"\xff" * 400 + whole[420:],
            r"LiteRT can't load .*m.tflite \(.*the file is damaged",
        ),
    ],
    ids=["empty", "random bytes", "text", "half", "cut off", "overwritten"],
)
def test_a_file_that_is_no_model_is_refused(artifact, tmp_path, damage, message):
    path = tmp_path / "m.tflite"
    path.write_bytes(damage(artifact.read_bytes()))
    with pytest.raises(TlkitError, match=message):
        TfliteClassifier(path)


def test_a_model_of_another_origin_has_no_labels(artifact, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(model_alone(artifact))
    with pytest.raises(TlkitError, match="carries no labels of tlkit's: it is of another origin"):
        TfliteClassifier(path)


def test_labels_that_are_compressed_are_not_unpacked(artifact, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(model_alone(artifact))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", b"0\n" * 10**6)
        archive.writestr("tlkit.json", "{}")
    with pytest.raises(TlkitError, match="carries no labels"):
        TfliteClassifier(path)


def test_parts_that_are_not_of_one_model_are_refused(artifact, tmp_path):
    spec = unpack(artifact)[1]["preprocess"]
    for values, message in (
        ({"labels": ["a", "b"]}, r"gives \[1, 10\] values and has 2 labels: these parts are not of one model"),
        ({"preprocess": spec | {"input_size": 32}}, r"takes uint8 \[1, 28, 28, 3\], .* gives uint8 \[1, 32, 32, 3\]"),
        ({"preprocess": spec | {"version": 9}}, "written by another version of tlkit"),
        ({"preprocess": None}, "written by another version of tlkit"),
        ({"preprocess": [1]}, "written by another version of tlkit"),
    ):
        with pytest.raises(TlkitError, match=message):
            TfliteClassifier(repacked(artifact, tmp_path / "m.tflite", **values))


def test_a_missing_file_gets_a_suggestion(artifact, tmp_path):
    with pytest.raises(TlkitError, match=r"There is no file .*modle.tflite. Did you mean model.tflite\?"):
        TfliteClassifier(artifact.with_name("modle.tflite"))


def test_a_runtime_that_dies_takes_nothing_with_it(artifact):
    process = tflite_process.TfliteProcess(artifact)
    os.kill(process._process.pid, signal.SIGSEGV)
    with pytest.raises(TlkitError, match=r"died while loading .*model.tflite \(signal 11\): the file is damaged"):
        process.describe()
    process.close()
    with TfliteClassifier(artifact) as lite:
        os.kill(lite._process._process.pid, signal.SIGABRT)
        with pytest.raises(TlkitError, match=r"died while running .*model.tflite \(signal 6\)"):
            lite.probabilities(BLANK)


def test_a_runtime_that_never_answers_is_ended(artifact):
    process = tflite_process.TfliteProcess(artifact)
    os.kill(process._process.pid, signal.SIGSTOP)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TlkitError, match="not done loading .* after 0 s"):
        patch.setattr(tflite_process, "PATIENCE", 0.2)
        process.describe()
    process.close()


def test_probabilities_that_are_no_numbers_are_refused(run):
    import keras

    model = keras.saving.load_model(run / "model.keras", compile=False)
    kernel, bias = model.get_layer("head_logits").get_weights()
    model.get_layer("head_logits").set_weights([kernel * np.nan, bias])
    with pytest.raises(TlkitError, match="lenet gives probabilities that are no numbers: it is damaged, or badly"):
        KerasClassifier(run, lambda: model).probabilities(BLANK)


def test_mutated_models_run_or_are_refused(artifact, tmp_path):
    random = np.random.default_rng(0)
    whole = artifact.read_bytes()
    for i in range(12):
        content = bytearray(whole)
        low, high = ((8, 3000), (len(whole) - 9000, len(whole)), (8, len(whole)))[i % 3]
        for at in random.integers(low, high, (1, 3, 100)[i % 3]):
            content[at] = random.integers(0, 256)
        path = tmp_path / "m.tflite"
        path.write_bytes(content)
        try:
            with TfliteClassifier(path) as lite:
                assert lite.probabilities(BLANK).shape == (2, len(lite.classes))
        except TlkitError as err:
            assert "m.tflite" in str(err) or "another version" in str(err)
