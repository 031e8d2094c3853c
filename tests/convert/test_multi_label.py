"""Exporting, proving and using a classifier of any number of labels."""

import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.classifier import open_classifier
from tlkit.convert import export as exporting
from tlkit.convert.export import export
from tlkit.convert.limits import LIMITS, check_parity, shortfalls
from tlkit.convert.multi_parity import measure_multi_label_parity
from tlkit.convert.options import ExportOptions
from tlkit.convert.tflite_pack import pack
from tlkit.convert.to_tflite import tflite_from_keras
from tlkit.data.recorded import photos_of
from tlkit.errors import DataError, ParityError, TlkitError
from tlkit.evaluate import evaluate
from tlkit.manifest import read_manifest
from tlkit.predict import predict

THRESHOLDS = [0.5, 0.3, 0.6, 0.5]


def outputs(photos=100, seed=0):
    """Probabilities of a good model, and labels, `[photos, 4]`."""
    random = np.random.default_rng(seed)
    labels = (random.random((photos, 4)) < 0.2).astype(np.float32)
    return np.clip(0.8 * labels + random.uniform(0.02, 0.18, labels.shape), 0, 1), labels


def measured(artifact, precision, photos=100):
    keras_says, labels = outputs(photos)
    return measure_multi_label_parity(artifact(keras_says), keras_says, labels, THRESHOLDS, LIMITS[precision])


@pytest.mark.parametrize("precision", LIMITS)
def test_the_same_probabilities_pass(precision):
    parity = measured(lambda p: p, precision)
    assert not shortfalls(parity)
    assert parity.decision_agreement == 1 and parity.map == parity.keras_map and parity.top1_agreement is None


def test_a_file_that_finds_nothing_agrees_on_most_decisions_and_is_refused():
    parity = measured(lambda p: p / 10, "dynamic")
    assert parity.decision_agreement > 0.75 and parity.map == parity.keras_map and parity.micro_f1 == 0
    assert any("micro F1 falls from" in one for one in shortfalls(parity))


def test_a_loss_of_map_alone_is_refused():
    """No decision changes, but labels that the model misses are not ranked above what is not there any more."""
    keras_says, labels = outputs()
    missed = (labels > 0) & (np.arange(100) % 2 == 0)[:, None]
    keras_says[missed] = 0.25
    artifact = keras_says.copy()
    artifact[missed] = 0.01
    parity = measure_multi_label_parity(artifact, keras_says, labels, THRESHOLDS, LIMITS["int8"])
    assert parity.decision_agreement == 1 and parity.micro_f1_change == 0
    (problem,) = shortfalls(parity)
    assert problem.startswith("mAP falls from 100.00% to ") and problem.endswith("at most 2.00% may be lost")


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_decisions_that_change_are_counted(precision):
    def flipped(p):
        found = p.copy()
        found[:10] = 1 - found[:10]
        return found

    message = "agreement of decisions is 90.00%; the limit is 9"
    with pytest.raises(ParityError, match=message):
        check_parity(measured(flipped, precision), name="model")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_softmax_instead_of_sigmoid_is_refused(precision):
    def softmax(p):
        odds = p / (1 - p + 1e-9)
        return odds / odds.sum(axis=1, keepdims=True)

    with pytest.raises(ParityError, match="model was not made"):
        check_parity(measured(softmax, precision), name="model")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value):
    assert shortfalls(measured(lambda p: np.where(p > 0.9, value, p), "int8"))


@pytest.fixture(scope="module")
def exported(multi_label_folder, tmp_path_factory):
    """The run with float32 and int8 artifacts. Copy it before changing it."""
    run = Path(shutil.copytree(multi_label_folder, tmp_path_factory.mktemp("exported") / "several"))
    return run, {name: export(run, ExportOptions(precision=name)) for name in ("float32", "int8")}


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_artifact_passes_with_its_figures(exported, precision):
    run, entries = exported
    parity = entries[precision]["parity"]
    assert parity["images"] == len(photos_of(read_manifest(run), "val", "test"))
    assert parity["decision_agreement"] >= 0.97 and parity["map"] > 0.9 and parity["top1_agreement"] is None
    assert parity["accuracy"] > 0.9 and abs(parity["map_change"]) < 0.05
    sidecar = json.loads((run / f"{entries[precision]['path']}.json").read_text())
    assert sidecar["task"] == "multi_label" and sidecar["thresholds"] == read_manifest(run)["thresholds"]


def test_the_int8_output_has_the_step_of_a_probability(exported):
    output = exported[1]["int8"]["output"]
    assert (output["dtype"], output["scale"], output["zero_point"]) == ("uint8", 1 / 256, 0)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_softmax_in_the_conversion_is_caught(multi_label_run, precision, monkeypatch):
    def wrong(model, **options):
        logits = model.get_layer("head_logits").output
        return tflite_from_keras(keras.Model(model.input, keras.layers.Softmax()(logits)), **options)

    monkeypatch.setattr(exporting, "tflite_from_keras", wrong)
    with pytest.raises(ParityError, match="was not made"):
        export(multi_label_run, ExportOptions(precision=precision))
    assert not list(multi_label_run.glob("artifacts/*"))


def test_an_artifact_elsewhere_finds_the_labels_that_its_run_finds(exported, tmp_path):
    run, entries = exported
    manifest = read_manifest(run)
    photos = [Path(manifest["data"]["root"]) / photo.path for photo in photos_of(manifest, "test")][:6]
    alone = Path(shutil.copy(run / entries["float32"]["path"], tmp_path / "model.tflite"))
    found = []
    for model in (run, alone):
        with open_classifier(model) as classifier:
            assert list(classifier.thresholds) == manifest["thresholds"] and not classifier.remarks
            found.append(list(predict(classifier, photos, top=1)))
    names = [[{name for name, _ in one.labels} for one in part] for part in found]
    assert names[0] == names[1] and {len(one) for one in names[0]} == {0, 1, 2}
    assert all(one.label is None and len(one.top) == 1 for one in found[0])
    with open_classifier(alone) as classifier:
        every = list(predict(classifier, photos, threshold=1e-9))
    assert all(len(one.labels) == 3 for one in every)


def repacked(path, about):
    """Gives a .tflite file other words about itself."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        labels = archive.read("labels.txt").decode().splitlines()
        start = min(entry.header_offset for entry in archive.infolist())
        old = json.loads(archive.read("tlkit.json"))
    path.write_bytes(content[:start])
    pack(path, labels=labels, about=about(old))


def test_an_artifact_without_thresholds_takes_a_half_and_says_so(exported, tmp_path):
    run, entries = exported
    alone = Path(shutil.copy(run / entries["float32"]["path"], tmp_path / "model.tflite"))
    repacked(alone, lambda old: {key: value for key, value in old.items() if key != "thresholds"})
    with open_classifier(alone) as classifier:
        assert classifier.thresholds == (0.5, 0.5, 0.5)
        assert classifier.remarks == (f"{alone} names no thresholds: a class is taken to be there from 50% on.",)


@pytest.mark.parametrize("thresholds", [[0.5], ["a", "b", "c"], [2, 0, 0], "0.5", None])
def test_thresholds_that_are_none_are_refused(exported, tmp_path, thresholds):
    run, entries = exported
    alone = Path(shutil.copy(run / entries["float32"]["path"], tmp_path / "model.tflite"))
    repacked(alone, lambda old: {**old, "thresholds": thresholds})
    with pytest.raises(TlkitError, match="The thresholds in .* can't be used: .*. Export it again"):
        open_classifier(alone)


def test_an_evaluation_gives_the_figures_of_the_run(exported):
    run, entries = exported
    manifest = read_manifest(run)
    with open_classifier(run) as classifier:
        found = evaluate(classifier, None, shifts=["brightness"])
    test = manifest["metrics"]["test"]
    for name in ("images", "map", "accuracy", "micro_f1", "macro_f1", "subset_accuracy"):
        assert getattr(found, name) == pytest.approx(test[name], abs=1e-6)
    rows = found.to_dict()["per_class"]
    assert [row["class"] for row in rows] == manifest["classes"]
    assert [row["threshold"] for row in rows] == manifest["thresholds"]
    assert found.shifts and all(one.map_change == pytest.approx(one.map - found.map) for one in found.shifts)
    table = Path(manifest["data"]["source"])
    with open_classifier(run / entries["int8"]["path"]) as classifier:
        whole = evaluate(classifier, table)
        assert whole.images == 160 and whole.map > 0.9 and whole.trained_on == len(manifest["split"]["train"])
        with pytest.raises(DataError, match="is not a table"):
            evaluate(classifier, table.parent)
