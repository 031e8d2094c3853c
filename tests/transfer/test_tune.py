"""The search on cached features: trials that train as the training does, an honest choice, an ordinary run of it."""

import json
import signal
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlkit.data.discover import Photo
from tlkit.data.split import PhotoSet
from tlkit.errors import MissingDependencyError, OptionError
from tlkit.manifest import read_manifest
from tlkit.progress import Bar, Progress
from tlkit.transfer import head_trials, loop, tune
from tlkit.transfer.finetune import finetune, resume
from tlkit.transfer.head_trials import Fold, Head, Setting, Training, dealt, epochs_of, measured, trained
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.source import Source
from tlkit.transfer.training import Recipe

DEFAULT = Setting(head_width=0, dropout=0.2, learning_rate=3e-3, weight_decay=0.01)


def schedule(**values):
    return Schedule(**{"epochs": 4, "batch_size": 8, "learning_rate": 0.02, "patience": 0, **values})


def common(classes=3, **values):
    return Training(
        **{
            "schedule": schedule(),
            "class_weights": np.ones(classes),
            "label_smoothing": 0.0,
            "seed": 3,
            **values,
        }
    )


def blobs(count, seed=0, classes=3):
    """Features in which a line tells the classes, more or less."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    middles = np.random.default_rng(9).normal(size=(classes, 6))
    return (middles[labels] + random.normal(size=(count, 6))).astype(np.float32), labels


def one_fold(x, labels, train):
    return Fold(views=[x[:train]], labels=labels[:train], held_out=x[train:], held_out_labels=labels[train:])


@pytest.mark.parametrize("width", [0, 16])
@pytest.mark.parametrize("sampling", ["natural", "balanced"])
def test_a_trial_trains_what_the_training_trains(width, sampling):
    x, labels = blobs(40)
    weights, setting = (
        np.array([1.0, 2.0, 0.5]),
        Setting(head_width=width, dropout=0.0, learning_rate=0.02, weight_decay=0.5),
    )
    start = Head(6, 3, setting, 3).weights
    image = keras.Input((6,))
    hidden = keras.layers.Dense(width, activation="relu", name="head_hidden")(image) if width else image
    model = keras.Model(image, keras.layers.Dense(3, name="head_logits")(hidden))
    model.set_weights(start)
    photos = [Photo(f"{i}.png", int(label), f"{i:064x}") for i, label in enumerate(labels)]
    parts = {"train": tuple(photos[:28]), "val": tuple(photos[28:]), "test": ()}
    photo_set = PhotoSet(root=None, kind="classes", classes=("a", "b", "c"), problems=(), **parts)

    def batches(steps):
        for step in steps:
            chosen = labels[step.indices]
            yield x[step.indices], chosen, weights[chosen].astype(np.float32)

    def logits():
        return keras.ops.convert_to_numpy(model(x[28:], training=False))

    source = Source(model=model, batches=batches, val_logits=logits, held_out_logits=logits)
    training = loop.Training(
        source,
        photo_set,
        schedule(sampling=sampling),
        frozen=(),
        recipe=Recipe(weight_decay=0.5, label_smoothing=0.1),
        seed=3,
    )
    training.run(Progress())
    same = common(class_weights=weights, label_smoothing=0.1, schedule=schedule(sampling=sampling))
    found = list(trained(one_fold(x, labels, 28), setting, same))
    losses = [-np.log(head_trials.softmax(one)[np.arange(12), labels[28:]]).mean() for one in found]
    assert losses == pytest.approx([row["val_loss"] for row in training.state.rows], rel=2e-4)


def test_dropout_drops_and_leaves_the_mean():
    x, labels = blobs(28)
    fold = one_fold(np.concatenate([x, x]), np.concatenate([labels, labels]), 28)
    without, some = (measured([fold], Setting(**{**vars(DEFAULT), "dropout": d}), common()) for d in (0.0, 0.5))
    assert not np.array_equal(without.losses, some.losses)
    assert some.losses.mean() == pytest.approx(without.losses.mean(), rel=0.3)


def test_folds_hold_every_photo_out_once_and_spread_every_class():
    labels = np.array([0] * 10 + [1] * 4 + [2] * 3)
    parts = dealt(labels, 3, seed=1)
    for label in range(3):
        counts = np.bincount(parts[labels == label], minlength=3)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(parts).max() - np.bincount(parts).min() <= 1
    assert not np.array_equal(parts, dealt(labels, 3, seed=2))


def test_patience_ends_a_trial_and_the_best_epoch_counts():
    x, _ = blobs(60)
    noise = np.random.default_rng(0).integers(0, 3, 60)
    fold = one_fold(x, noise, 30)
    setting = Setting(head_width=64, dropout=0.0, learning_rate=0.1, weight_decay=0.0)
    outcomes = list(epochs_of([fold], setting, common(schedule=schedule(epochs=50, patience=3))))
    assert len(outcomes) == outcomes[-1].epoch + 3 < 50
    assert outcomes[-1].losses.mean() == min(one.losses.mean() for one in outcomes)


class Told(Progress):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def searched(x, labels, count=12, progress=None, **values):
    training = common(classes=int(labels.max()) + 1, schedule=schedule(epochs=15, batch_size=16), **values)

    def folds(seed):
        parts = dealt(labels, 3, seed)
        return [
            Fold(
                views=[x[parts != i]],
                labels=labels[parts != i],
                held_out=x[parts == i],
                held_out_labels=labels[parts == i],
            )
            for i in range(3)
        ]

    search = tune._Search(training, folds(0), DEFAULT, dict.fromkeys(vars(DEFAULT)))
    search.run(count, 0, progress or Progress())
    return search, *tune._decide(search, lambda one: measured(folds(1), one, training), progress or Told())


def test_a_hidden_layer_is_found_where_no_line_tells_the_classes():
    x = np.random.default_rng(0).normal(size=(240, 4)).astype(np.float32)
    labels = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)
    told = Told()
    search, chosen, found = searched(x, labels, progress=told)
    assert chosen.head_width > 0
    assert found["chosen"] == vars(chosen)
    assert found["gain"]["accuracy"] > 0.1 and not found["gain"]["kept_default"]
    assert found["gain"]["log_loss"] > 2 * found["gain"]["standard_error"]
    assert told.said[-1].startswith(f"--tune: {chosen.head_width} hidden units, dropout")
    assert len(search.trials) == 12
    assert {name: search.trials[0][name] for name in vars(DEFAULT)} == vars(DEFAULT)  # the first is the default
    assert json.dumps(found)
    again, *_ = searched(x, labels)
    assert again.trials == search.trials  # by the seed


def test_the_default_is_kept_where_there_is_nothing_to_gain():
    x = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    told = Told()
    _, chosen, found = searched(x, np.arange(90) % 3, progress=told)
    assert chosen == DEFAULT
    assert found["gain"]["kept_default"]
    assert "the default" in told.said[-1] and "kept" in told.said[-1]


def test_ctrl_c_ends_the_search_with_the_best_so_far():
    class Pressing(Told):
        @contextmanager
        def bar(self, title, total, unit="images"):
            class Third(Bar):
                def advance(self, count=1, *, note=None):
                    super().advance(count, note=note)
                    if self.done == 3:
                        signal.raise_signal(signal.SIGINT)

            yield Third(total)

    x, labels = blobs(60)
    told, before = Pressing(), signal.getsignal(signal.SIGINT)
    search, *_ = searched(x, labels, progress=told)
    assert len(search.trials) == 3
    assert "Stopping the search; training goes on with the best so far. Ctrl-C again stops at once" in told.said
    assert signal.getsignal(signal.SIGINT) is before


def options(folder, tmp_path, **values):
    return FinetuneOptions(
        **{
            "base": "lenet5",
            "data": folder,
            "head": "gap",
            "weights": "none",
            "freeze": "all-but-head",
            "epochs": 2,
            "batch_size": 8,
            "runs": tmp_path / "runs",
            "name": "tuned",
            "tune": 3,
            **values,
        }
    )


CHOSEN = Setting(head_width=64, dropout=0.35, learning_rate=0.01, weight_decay=0.1)


def test_the_best_is_an_ordinary_run_that_can_be_resumed_without_another_search(make_folder, tmp_path, monkeypatch):
    decide = tune._decide
    monkeypatch.setattr(tune, "_decide", lambda *args: (CHOSEN, {**decide(*args)[1], "chosen": vars(CHOSEN)}))
    wanted = options(make_folder(), tmp_path, freeze="head-then:none", epochs=4)
    run, count = loop.Training.run, [0]

    def killed(self, *args):
        raise RuntimeError("killed")

    def second_is_killed(self, *args):
        count[0] += 1
        return killed(self) if count[0] == 2 else run(self, *args)

    monkeypatch.setattr(loop.Training, "run", second_is_killed)
    with pytest.raises(RuntimeError, match="killed"):
        finetune(wanted)
    monkeypatch.setattr(loop.Training, "run", run)
    monkeypatch.setattr(tune, "tuned", killed)
    folder = resume("tuned", tmp_path / "runs", {"tune": 3})
    manifest = read_manifest(folder)
    assert manifest["base_options"] == {"head_width": 64}
    assert [phase["learning_rate"] for phase in manifest["schedule"]["phases"]] == [0.01, 3e-3]
    model = keras.saving.load_model(folder / "model.keras")
    assert model.get_layer("head_hidden").units == 64
    assert model.get_layer("head_dropout").rate == 0.35
    assert manifest["options"]["head_weight_decay"] == 0.1
    assert len(manifest["tuning"]["trials"]) == 3
    assert manifest["tuning"]["validation"]["search"] == "3-fold cross-validation"
    assert manifest["tuning"]["validation"]["photos"] == len(manifest["split"]["train"])
    assert {"log_loss", "accuracy"} <= set(manifest["tuning"]["default"])


def test_many_photos_are_judged_by_the_validation_split(make_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "FEW", 10)
    monkeypatch.setattr(tune, "MOST", 12)
    judged, search = [], tune._Search

    def watched(training, folds, default, given):
        judged.extend(len(fold.held_out_labels) for fold in folds)
        return search(training, folds, default, given)

    monkeypatch.setattr(tune, "_Search", watched)
    manifest = read_manifest(finetune(options(make_folder(), tmp_path, tune=2)))
    assert judged == [len(manifest["split"]["val"])]
    about = manifest["tuning"]["validation"]
    assert about["search"] == "validation split"
    assert about["comparison"] == "3-fold cross-validation"
    assert about["photos"] == 12  # of the training photos, that did not choose


def test_what_was_given_is_kept_and_the_rest_is_found(make_folder, tmp_path):
    found = read_manifest(finetune(options(make_folder(), tmp_path, dropout=0.9, learning_rate=5.0)))["tuning"]
    assert {trial["dropout"] for trial in found["trials"]} == {0.9}
    assert {trial["learning_rate"] for trial in found["trials"]} == {5.0}
    assert len({trial["weight_decay"] for trial in found["trials"]}) == 3


@pytest.mark.parametrize(
    ("values", "given"),
    [
        ({}, {}),
        ({"learning_rate": "auto"}, {}),
        ({"head_width": 0, "weight_decay": 0.01}, {"head_width": 0, "weight_decay": 0.01}),
        ({"learning_rate": 3e-3, "dropout": 0.2}, {"learning_rate": 3e-3, "dropout": 0.2}),
        ({"head_learning_rate": 0.01, "head_weight_decay": 0.0}, {"learning_rate": 0.01, "weight_decay": 0.0}),
        ({"learning_rate": 1e-4, "head_learning_rate": 0.01}, {"learning_rate": 0.01}),
    ],
)
def test_what_is_given_is_not_tuned_though_it_is_the_default(values, given, tmp_path):
    wanted = options("digits", tmp_path, freeze="head-then:none", epochs=4, **values)
    found = tune._given(wanted)
    assert {name: value for name, value in found.items() if value is not None} == given
    default = tune._default(SimpleNamespace(options=wanted, decided=plan(wanted)))
    assert vars(default) == {**vars(DEFAULT), **given}


def test_callbacks_see_the_training_of_what_was_chosen(make_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "_decide", lambda *args: (CHOSEN, {"validation": {}}))
    epochs = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    finetune(options(make_folder(), tmp_path, tune=2), callbacks=[seen])
    assert epochs == [0, 1]


def test_the_head_of_another_run_is_not_tuned(make_folder, run_folder, tmp_path):
    values = {"base": None, "head": None, "weights": None, "freeze": None, "parent": run_folder}
    with pytest.raises(OptionError, match="--tune 3 begins with a new head, and --from goes on with the run's own"):
        finetune(options(make_folder(), tmp_path, **values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"freeze": "none"},
            "with --freeze none and random weights no epoch trains the head alone. Use --freeze all-b",
        ),
        ({"freeze": "last:1"}, "--tune 3 tries heads on the output of frozen stages, and with --freeze last:1"),
        ({"cache": False}, "--tune 3 needs the output of frozen stages in the cache. Leave out --no-cache"),
        ({"mix": "mixup"}, "Leave out --no-cache, --mix and --batch-norm train, or leave --tune out"),
        ({"head": "original"}, "--tune 3 is for --head gap, not --head original"),
        (
            {"head_width": 0, "dropout": 0.1, "head_learning_rate": 1e-3, "weight_decay": 0.01},
            "--tune 3 has nothing to look for: --head-width, --dropout, --learning-rate and --weight-decay are all",
        ),
        ({"tune": 1}, "--tune must be a whole number from 2 to 10000, not 1"),
    ],
)
def test_what_can_not_be_tuned_is_said_before_any_photo_is_read(values, message, tmp_path):
    with pytest.raises(OptionError, match=message.replace("(", r"\(")):
        finetune(options(tmp_path / "nowhere", tmp_path, **values))


def test_features_that_can_not_be_cached_are_an_error(make_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tlkit.transfer.phases.head_features", lambda *a: "the disk is full")
    with pytest.raises(OptionError, match="--tune 3 needs the output of frozen stages in the cache: the disk is full"):
        finetune(options(make_folder(), tmp_path))


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"optuna is not installed.*pip install 'tlkit\[tune\]'"):
        finetune(options(tmp_path, tmp_path))


@pytest.mark.slow
@pytest.mark.real_data
def test_a_hidden_head_is_exported_as_int8(tmp_path, shared, weights_v2):
    from tlkit.convert.export import export
    from tlkit.convert.options import ExportOptions

    values = {"base": "mobilenet_v2", "weights": weights_v2, "head_width": 64, "epochs": 8, "tune": None}
    run = finetune(options(shared / "data" / "ants_bees", tmp_path, **values, input_size=128, batch_size=32))
    entry = export(run, ExportOptions(precision="int8"))
    assert entry["parity"]["top1_agreement"] >= 0.97
    assert entry["float_ops"] == []
