"""The main job leaves a run that says everything."""

import csv

import keras
import numpy as np
import pytest

from tlkit.data.cache import change_limit
from tlkit.errors import DataError, OptionError, WeightsError
from tlkit.manifest import read_manifest, sha256_of
from tlkit.models import registry
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.transfer.finetune import finetune
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan

from ..conftest import settled

# A random backbone, frozen: fast, and every road through the cache.
FROZEN = {"base": "mobilenet_v2", "weights": "none", "freeze": "all-but-head", "input_size": 32}


class Told(Progress):
    """Remembers what was said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    warn = say


def options(**values):
    return FinetuneOptions(**{"base": "lenet5", **values})


def test_the_run_folder_holds_what_the_contract_lists(run):
    manifest = read_manifest(run)
    assert {path.name for path in run.iterdir()} == {
        "run.json",
        "model.keras",
        "labels.txt",
        "history.csv",
        "predictions.npz",
        "confusion_val.csv",
        "confusion_test.csv",
    }
    assert manifest["status"] == "complete"
    assert manifest["classes"] == list("0123456789")
    assert (run / "labels.txt").read_text() == "".join(f"{i}\n" for i in range(10))
    assert manifest["preprocess"] == PreprocessSpec(input_size=28).to_dict()
    assert manifest["weights"] == {"source": "none", "sha256": None}
    assert manifest["freeze"]["frozen_stages"] == []
    assert manifest["data"]["kind"] == "digits"
    assert manifest["data"]["images"] == sum(map(len, manifest["split"].values())) == 1797
    assert manifest["metrics"]["test"]["accuracy"] > 0.8
    assert len(manifest["metrics"]["test"]["per_class"]) == 10


def test_history_has_a_row_for_each_epoch(run):
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 9))
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    assert read_manifest(run)["schedule"]["epochs_run"] == 8


def test_predictions_are_those_of_the_saved_model_on_every_photo_not_trained_on(run):
    manifest = read_manifest(run)
    saved = np.load(run / "predictions.npz", allow_pickle=False)
    held_out = manifest["split"]["val"] + manifest["split"]["test"]
    assert saved["paths"].tolist() == [photo["path"] for photo in held_out]
    assert str(saved["model_sha256"]) == sha256_of(run / "model.keras")
    model = keras.saving.load_model(run / "model.keras", compile=False)
    spec = PreprocessSpec.from_dict(manifest["preprocess"])
    root = manifest["data"]["root"]
    pixels = np.stack([spec.load(f"{root}/{path}") for path in saved["paths"]]).astype(np.float32)
    again = model.predict_on_batch(pixels)
    assert np.abs(again - saved["probabilities"]).max() < 1e-5
    assert np.allclose(again.sum(axis=1), 1, atol=1e-5)
    test = saved["split"] == "test"
    accuracy = np.mean(again[test].argmax(axis=1) == saved["labels"][test])
    assert accuracy == manifest["metrics"]["test"]["accuracy"]


def test_the_confusion_matrix_counts_every_photo(run):
    rows = list(csv.reader((run / "confusion_test.csv").read_text().splitlines()))
    counts = np.array([row[1:] for row in rows[1:]], int)
    metrics = read_manifest(run)["metrics"]["test"]
    assert counts.sum() == metrics["images"]
    assert np.trace(counts) / counts.sum() == pytest.approx(metrics["accuracy"])


def test_the_same_seed_gives_the_same_run(tmp_path, make_folder):
    root = make_folder(each=8)
    runs = [finetune(options(data=root, epochs=2, seed=4, runs=tmp_path / "runs", name=name)) for name in "ab"]
    first, second = (np.load(run / "predictions.npz") for run in runs)
    assert np.array_equal(first["paths"], second["paths"])
    assert np.abs(first["probabilities"] - second["probabilities"]).max() < 1e-6


def test_a_second_run_with_another_learning_rate_reuses_the_cache(tmp_path, make_folder, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    common = {**FROZEN, "epochs": 2}
    root = make_folder(each=8)
    for rate, cache in ((1e-3, "computed"), (1e-2, "reused")):
        folder = finetune(options(data=root, runs=tmp_path / "runs", learning_rate=rate, **common))
        assert read_manifest(folder)["freeze"]["cache"] == cache
    folder = finetune(options(data=root, runs=tmp_path / "runs", cache=False, **common))
    assert read_manifest(folder)["freeze"]["cache"] is None


def test_a_cache_above_the_limit_trains_uncached_and_says_so(tmp_path, make_folder, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    change_limit(50_000)
    told = Told()
    folder = finetune(
        options(
            **FROZEN,
            data=make_folder(each=6),
            epochs=1,
            runs=tmp_path / "runs",
        ),
        told,
    )
    assert read_manifest(folder)["freeze"]["cache"] is None
    assert any(
        "uncached and so slower: the features would take 92.2 kB, the limit of the cache is 50.0 kB" in line
        for line in told.lines
    )


def test_a_second_run_needs_no_room_for_what_is_cached(tmp_path, make_folder, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    change_limit(150_000)  # of which the features take 92 kB: twice would not fit
    values = options(**FROZEN, data=make_folder(each=6), epochs=1, runs=tmp_path / "runs")
    assert [read_manifest(finetune(values))["freeze"]["cache"] for _ in range(2)] == ["computed", "reused"]


def test_frozen_stages_are_bit_identical_to_the_weights_file(tmp_path, make_folder):
    source = settled(registry.build("mobilenet_v2", classes=5, input_size=32, head="gap"))
    source.save_weights(tmp_path / "a.weights.h5")
    folder = finetune(
        options(
            base="mobilenet_v2",
            weights=tmp_path / "a.weights.h5",
            freeze="up-to:stage4",
            data=make_folder(each=6),
            input_size=32,
            epochs=3,
            batch_size=4,
            runs=tmp_path / "runs",
        )
    )
    manifest = read_manifest(folder)
    assert manifest["weights"]["source"] == str(tmp_path / "a.weights.h5")
    assert manifest["weights"]["sha256"] == sha256_of(tmp_path / "a.weights.h5")
    trained = keras.saving.load_model(folder / "model.keras", compile=False)
    for layer in source.layers:
        if layer.weights and layer.name != "head_logits":
            same = all(map(np.array_equal, layer.get_weights(), trained.get_layer(layer.name).get_weights()))
            trained_norm = layer.name.startswith("stage5") and not layer.name.endswith("_bn")
            assert same != trained_norm, layer.name


def test_photos_that_are_left_out_are_in_the_manifest(tmp_path, make_folder):
    root = make_folder(each=6)
    (root / "ants" / "=cmd.jpg").write_bytes(b"")
    told = Told()
    folder = finetune(options(data=root, epochs=1, runs=tmp_path / "runs"), told)
    assert read_manifest(folder)["data"]["left_out"] == [{"path": "ants/=cmd.jpg", "reason": "empty file"}]
    assert "ants/=cmd.jpg is left out: empty file" in told.lines


def test_a_class_name_that_looks_like_a_formula_is_defused_in_csv(tmp_path, make_folder):
    folder = finetune(options(data=make_folder(classes=("=1+1", "b"), each=6), epochs=1, runs=tmp_path / "runs"))
    assert next(csv.reader((folder / "confusion_val.csv").read_text().splitlines()))[1] == "'=1+1"
    assert (folder / "labels.txt").read_text() == "=1+1\nb\n"


def test_imbalance_is_pointed_out(tmp_path, make_folder):
    make_folder(classes=("a",), each=30)
    told = Told()
    finetune(options(data=make_folder(classes=("b",), each=4, first=100), epochs=1, runs=tmp_path / "runs"), told)
    assert any("Consider --class-weight auto" in line for line in told.lines)


def test_a_training_that_diverges_leaves_no_run(tmp_path, make_folder, monkeypatch):
    monkeypatch.setattr("tlkit.metrics.log_loss", lambda *a: float("nan"))  # no small network diverges on every machine
    with pytest.raises(OptionError, match="Training diverged"):
        finetune(options(data=make_folder(each=6), epochs=1, runs=tmp_path / "runs"))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".tlkit"]


def test_features_that_do_not_belong_to_the_model_are_noticed(tmp_path, make_folder, monkeypatch):
    from tlkit.errors import TlkitError
    from tlkit.transfer import features

    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))

    def noise(model):
        return lambda x: np.random.default_rng(0).normal(0, 3, (len(x), *model.output.shape[1:]))

    monkeypatch.setattr(features, "inference", noise)
    with pytest.raises(TlkitError, match="cached features do not belong to this model"):
        finetune(
            options(
                **{**FROZEN, "base": "vgg16"},
                data=make_folder(each=6),
                epochs=3,
                learning_rate=0.1,
                runs=tmp_path / "runs",
            )
        )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"base": "lenet5"}, ("none", "none", "original", 28, 30, 3e-3)),
        ({"base": "vgg16"}, ("imagenet", "auto", "gap", 32, 30, 3e-3)),
        ({"base": "vgg16", "data": "x"}, ("imagenet", "auto", "gap", 224, 30, 3e-3)),
        ({"base": "mobilenet_v2", "freeze": "last:1"}, ("imagenet", "last:1", "gap", 32, 15, 3e-4)),
        ({"base": "vgg16", "head": "original"}, ("imagenet", "auto", "original", 224, 30, 3e-3)),
        ({"base": "vgg16", "weights": "none"}, ("none", "none", "gap", 32, 30, 3e-3)),
        ({"base": "lenet5", "head": "gap", "epochs": 2}, ("none", "none", "gap", 12, 2, 3e-3)),
    ],
)
def test_defaults_suit_the_rest(values, expected):
    p = plan(FinetuneOptions(**values))
    assert (p.weights, p.freeze.text, p.head, p.input_size, p.epochs, p.learning_rate) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": "imagenet"}, "There are no ImageNet weights for lenet5. Use --weights none"),
        ({"data": "x", "freeze": "last:1"}, "would freeze random ones. Train all of it with --freeze none, or say"),
        ({"head": "gap", "input_size": 8}, "needs an input of at least 12 pixels, not 8"),
        ({"input_size": 32}, "with its original head takes 28 pixels only, not 32"),
        ({"epochs": 0}, "--epochs must be a whole number from 1 to 1000000, not 0"),
        ({"learning_rate": -1.0}, "--learning-rate must be auto, or above 0 and at most 10"),
        ({"epochs": "3"}, "--epochs must be a whole number .* not '3'"),
        ({"seed": 2**32}, "--seed must be a whole number from 0 to 4294967295"),
        ({"input_size": 0}, "--input-size must be a whole number from 1 to 2048, not 0"),
        ({"dropout": 1.0}, "--dropout must be at least 0 and below 1"),
        ({"class_weight": "balanced"}, "--class-weight takes auto or none"),
        ({"head": "mlp"}, "--head takes gap or original"),
        ({"decode": "half"}, "--decode takes full or scaled, not 'half'"),
    ],
)
def test_options_that_cant_be_are_refused_before_anything_is_read(values, message):
    with pytest.raises(OptionError, match=message):
        plan(options(**values))


def test_another_number_of_classes_is_refused(tmp_path, make_folder):
    with pytest.raises(OptionError, match=r"--classes 7 was given, but .* has 3 classes: ants, bees, wasps"):
        finetune(options(data=make_folder(), classes=7, runs=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_own_photos_without_reachable_imagenet_weights_are_an_error(tmp_path, make_folder):
    with pytest.raises(WeightsError, match="could not be downloaded"):
        finetune(options(base="vgg16", data=make_folder(), input_size=32, runs=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_weights_none_said_out_loud_freezes_a_random_backbone_with_a_warning(tmp_path, make_folder):
    told = Told()
    finetune(
        options(data=make_folder(each=6), weights="none", freeze="last:1", epochs=1, runs=tmp_path / "runs"),
        told,
    )
    assert any("keeps random weights, as --weights none means" in line for line in told.lines)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        finetune(options(data=tmp_path / "nowhere", runs=tmp_path / "runs"))
