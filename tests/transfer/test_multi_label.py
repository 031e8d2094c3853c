"""Training on photos with any number of labels."""

import csv

import keras
import numpy as np
import pytest

import tlkit
from tlkit.data.multi_label import label_array
from tlkit.data.recorded import photos_of
from tlkit.errors import OptionError, RunError
from tlkit.manifest import read_manifest, write_manifest
from tlkit.multi_label import choose_thresholds
from tlkit.transfer import checkpoint as checkpoints
from tlkit.transfer import loop, multi_probe
from tlkit.transfer.losses import cross_entropy, right_answers
from tlkit.transfer.mix import mixer
from tlkit.transfer.schedule import Schedule, Step
from tlkit.transfer.source import weights_of
from tlkit.transfer.training import Recipe, compile_for_training, probabilities_of, sigmoid

from ..conftest import SHARED, multi_label_table

LABELS = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], np.float32)


class Killed(BaseException):
    """Stands for SIGKILL."""


def model_with_auxiliary():
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    outputs = [keras.layers.Dense(3, name=name)(image) for name in ("head_logits", "aux1_logits")]
    return keras.Model(image, outputs)


def loss_of(logits, targets, weights):
    """In NumPy, from the definition."""
    p = sigmoid(logits)
    return np.mean(-weights * (targets * np.log(p) + (1 - targets) * np.log(1 - p)), axis=-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_of_the_sigmoids_cross_entropies(smoothing):
    random = np.random.default_rng(0)
    logits, weights = random.normal(0, 3, (4, 3)).astype(np.float32), random.uniform(0.5, 2, (4, 3)).astype(np.float32)
    found = cross_entropy(LABELS, logits, weights, smoothing=smoothing, multi_label=True)
    assert np.allclose(found, loss_of(logits, LABELS * (1 - smoothing) + smoothing / 2, weights), atol=1e-5)
    right = right_answers(LABELS, logits, multi_label=True)
    assert np.allclose(right, ((logits > 0) == (LABELS > 0)).mean(axis=1))


def test_one_label_a_photo_is_trained_as_ever():
    random = np.random.default_rng(0)
    logits, labels = random.normal(0, 3, (4, 3)).astype(np.float32), np.eye(3, dtype=np.float32)[[0, 2, 1, 1]]
    found = cross_entropy(labels, logits, np.full(4, 2.0, np.float32), smoothing=0.0, multi_label=False)
    chosen = np.log(probabilities_of(logits, multi_label=False))[labels > 0]
    assert np.allclose(found, -2 * chosen, atol=1e-5)


def test_a_step_reports_the_logits_alone_and_auxiliary_classifiers_add_their_share():
    random = np.random.default_rng(1)
    x, weights = random.normal(size=(4, 6)).astype(np.float32), random.uniform(0.5, 2, (4, 3)).astype(np.float32)
    moments = {}
    for share in (0.0, 0.3):
        model = model_with_auxiliary()
        logits, _ = (one.numpy() for one in model(x))
        schedule = Schedule(epochs=1, batch_size=4, learning_rate=0.01, patience=0)
        recipe = Recipe(multi_label=True, auxiliary_weight=share)
        compiled = compile_for_training(model, schedule, steps=10, recipe=recipe)
        losses, right = compiled.train_on_batch(x, LABELS, weights)
        assert losses == pytest.approx(loss_of(logits, LABELS, weights).sum(), rel=1e-4)
        assert right == pytest.approx(((logits > 0) == (LABELS > 0)).mean(axis=1).sum())
        moved = [v.numpy() for v in compiled.optimizer.variables if "momentum" in v.path and "aux1" in v.path]
        moments[share] = max(np.abs(one).max() for one in moved)
    assert moments[0.0] == 0 < moments[0.3]


def test_weights_are_those_of_having_a_label_and_of_not():
    weights = np.array([[0.5, 0.6, 0.7], [5.0, 6.0, 7.0]])
    found = weights_of(LABELS, weights)
    assert found.dtype == np.float32 and np.allclose(found[0], [5, 0.6, 7]) and np.allclose(found[1], weights[0])
    assert (weights_of(LABELS, np.ones(3)) == 1).all()
    assert weights_of(np.array([2, 0]), weights[1]).tolist() == [7, 5]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_labels_and_weights_are_mixed_as_the_photos_are(kind):
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype(np.float32)
    weights = 1 + LABELS
    mixed, labels, mixed_weights = mixer(kind, classes=3, seed=0)(Step(np.arange(4), 0), pixels, LABELS, weights)
    assert np.asarray(mixed).shape == pixels.shape and np.asarray(labels).shape == LABELS.shape
    assert np.allclose(mixed_weights, 1 + np.asarray(labels), atol=1e-6)


def test_a_run_of_any_number_of_labels_is_what_contract_1_says(multi_label_folder):
    manifest = read_manifest(multi_label_folder)
    assert manifest["task"] == "multi_label"
    test = manifest["metrics"]["test"]
    assert test["images"] == len(manifest["split"]["test"]) and test["map"] > 0.9 and test["accuracy"] > 0.9
    saved = np.load(multi_label_folder / "predictions.npz")
    photos, count = photos_of(manifest, "val", "test"), len(manifest["split"]["val"])
    labels = label_array(photos, 3)
    assert (saved["labels"] == labels).all() and labels.shape == (len(photos), 3)
    assert not labels.any(axis=1).all() and (labels.sum(axis=1) == 2).any()
    chosen = choose_thresholds(saved["probabilities"][:count], labels[:count])
    assert manifest["thresholds"] == pytest.approx(chosen.tolist(), abs=1e-6)
    with (multi_label_folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    val = manifest["metrics"]["val"]["map"]
    assert len(rows) == 8 and float(rows[-1]["val_map"]) == pytest.approx(val, abs=1e-5) and val > 0.9


def test_the_saved_model_gives_each_class_a_probability_of_its_own(multi_label_folder):
    model = keras.saving.load_model(multi_label_folder / "model.keras", compile=False)
    x = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    logits = keras.Model(model.input, model.get_layer("head_logits").output)(x).numpy()
    assert model.output_names == ["probabilities"]
    assert np.allclose(model(x).numpy(), 1 / (1 + np.exp(-logits)), atol=1e-6)


@pytest.mark.slow
def test_a_training_that_was_killed_ends_where_it_would_have_ended(multi_label_folder, tmp_path, monkeypatch):
    begun = read_manifest(multi_label_folder)
    options = {k: begun["options"][k] for k in ("data", "batch_size", "learning_rate", "patience", "weights", "freeze")}
    options |= {"base": begun["options"]["base"], "multi_label": True, "runs": tmp_path / "runs", "epochs": 2}
    whole = tlkit.finetune(**options, name="whole")
    monkeypatch.setattr(checkpoints, "_EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "_SHARE", 0.0)
    ended = loop.Training._end_epoch

    def dying(self, progress, rate):
        ended(self, progress, rate)
        if self.state.rows[-1]["epoch"] == 1:
            self._save(progress, force=True)
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "_end_epoch", dying)
        with pytest.raises(Killed):
            tlkit.finetune(**options, name="killed")
    again = tlkit.resume("killed", tmp_path / "runs")
    assert again.manifest["split"] == whole.manifest["split"]
    assert again.manifest["metrics"] == whole.manifest["metrics"]
    assert again.manifest["thresholds"] == whole.manifest["thresholds"]


REFUSED = {
    "balanced": ({"data": "x.csv", "sampling": "balanced"}, "--sampling balanced draws photos by their one class"),
    "digits": ({}, "--multi-label takes photos that a table lists, not digits"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_go_with_several_labels_is_refused(options, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        tlkit.finetune(base="lenet5", multi_label=True, runs=tmp_path, **options)
    with pytest.raises(OptionError, match="takes photos that a table lists, not arrays"):
        tlkit.finetune(base="lenet5", multi_label=True, runs=tmp_path, x=np.zeros((4, 8, 8)), y=[0, 1, 0, 1])


BROKEN = {
    "a task of tomorrow": ({"task": "boxes"}, "'task' is not whole, it is 'boxes', not single_label or multi_label"),
    "another number": ({"thresholds": [0.5]}, "'thresholds' is not whole, it is no list of 3 numbers"),
    "above 1": ({"thresholds": [0.5, 1.5, 0.5]}, "'thresholds' is not whole, 1.5 is not from 0 to 1"),
}


@pytest.mark.parametrize(("values", "message"), BROKEN.values(), ids=BROKEN)
def test_a_manifest_that_is_not_whole_is_refused(values, message, multi_label_folder, tmp_path):
    with pytest.raises(RunError, match=message):
        write_manifest(tmp_path, {**read_manifest(multi_label_folder), **values})


@pytest.mark.parametrize("labels", [[3], [0, 0], "ab", [True]])
def test_labels_that_are_no_classes_are_refused(labels, multi_label_folder, tmp_path):
    manifest = read_manifest(multi_label_folder)
    manifest["split"]["train"][0]["labels"] = labels
    with pytest.raises(RunError, match="'split' is not whole, in 'train', the label"):
        write_manifest(tmp_path, manifest)


def test_the_probe_tells_features_that_know_the_labels_from_noise():
    random = np.random.default_rng(0)
    labels = (random.random((300, 5)) < 0.3).astype(np.float32)
    noise = random.normal(size=(300, 40))
    known = noise.copy()
    known[:, :5] += 6 * labels
    assert multi_probe.probe(known, labels, folds=3, seed=0) < 60
    assert multi_probe.probe(noise, labels, folds=3, seed=0) > 180


@pytest.mark.slow
@pytest.mark.real_data
def test_pairs_of_real_photos_are_learned_with_what_auto_chooses(tmp_path, weights_v2):
    from PIL import Image

    random, lines = np.random.default_rng(0), ["path,label"]
    signs = [sorted((SHARED / "data" / "sign_digits" / "train" / str(label)).glob("*"))[:60] for label in range(5)]
    for i in range(200):
        pair, canvas = random.permutation(5)[: i % 3], Image.new("RGB", (192, 192), (128, 128, 128))
        for place, label in enumerate(pair):
            sign = Image.open(signs[label][random.integers(60)]).resize((96, 96))
            canvas.paste(sign, (96 * place, 96 * int(random.integers(2))))
        canvas.save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{'|'.join(map(str, pair))}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    run = tlkit.finetune(
        tmp_path / "labels.csv",
        base="mobilenet_v2",
        weights=weights_v2,
        input_size=96,
        multi_label=True,
        class_weight="auto",
        epochs=30,
        runs=tmp_path / "runs",
    )
    chosen = run.manifest["freeze"]["chosen"]
    assert chosen["strategy"] in ("all-but-head", "head-then:none") and 0 <= chosen["probe"]["accuracy"] <= 1
    assert run.manifest["metrics"]["test"]["map"] > 0.6
    assert run.export("tflite", "float32")["parity"]["decision_agreement"] >= 0.995


@pytest.mark.slow
@pytest.mark.parametrize("extra", [{"class_weight": "auto", "label_smoothing": 0.1}, {"mix": "mixup", "ema": 0.9}])
def test_it_learns_with_every_option(extra, multi_label_folder, tmp_path):
    base = read_manifest(multi_label_folder)["options"]["base"]
    table = multi_label_table(tmp_path / "photos")
    options = {"epochs": 8, "batch_size": 8, "learning_rate": 1e-2, "weights": "none", "freeze": "none", "patience": 0}
    run = tlkit.finetune(table, base=base, multi_label=True, runs=tmp_path / "runs", **options, **extra)
    assert run.manifest["metrics"]["test"]["map"] > 0.9
