"""The head first, then what is thawed: each phase freezes, caches and learns as the plan says."""

import csv

import keras
import numpy as np
import pytest

from tlkit.errors import OptionError, TlkitError
from tlkit.manifest import read_manifest
from tlkit.models import registry
from tlkit.progress import Progress
from tlkit.transfer import checkpoint as checkpoints
from tlkit.transfer import job, loop, phases
from tlkit.transfer.finetune import finetune, resume
from tlkit.transfer.freeze import parse_freeze, periods
from tlkit.transfer.loop import Training
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.thaw import loss_beyond_chance
from tlkit.transfer.unmoved import check_unmoved, fingerprints

from .test_loop import photo_set, small_source, training

STAGES = ("stem", "stage1", "stage2", "stage3")


class Killed(BaseException):
    """Stands for SIGKILL."""


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    warn = say


@pytest.mark.parametrize(
    ("text", "epochs", "expected"),
    [
        ("none", 5, [(0, 5, 0)]),
        ("all-but-head", 5, [(0, 5, 4)]),
        ("gradual", 7, [(0, 1, 4), (1, 1, 3), (2, 1, 2), (3, 1, 1), (4, 3, 0)]),
        ("gradual:2", 5, [(0, 2, 4), (2, 2, 3), (4, 1, 2)]),
        ("head-then:none", 5, [(0, 2, 4), (2, 3, 0)]),
        ("head-then:last:1", 4, [(0, 2, 4), (2, 2, 3)]),
        ("head-then:up-to:stem", 4, [(0, 2, 4), (2, 2, 1)]),
        ("head-then:gradual", 6, [(0, 4, 4), (4, 1, 3), (5, 1, 2)]),
        ("head-then:none", 1, [(0, 1, 4)]),
    ],
)
def test_a_strategy_has_periods_that_thaw_from_the_head_on(text, epochs, expected):
    """First epoch, epochs and number of frozen stages. ULMFiT's gradual unfreezing begins with the head alone."""
    found = periods(parse_freeze(text, STAGES, epochs), STAGES, epochs)
    assert [(p.first, p.epochs, len(p.frozen)) for p in found] == expected
    assert all(p.frozen == STAGES[: len(p.frozen)] for p in found)
    assert sum(p.epochs for p in found) == epochs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gradual:0", "--freeze gradual:EPOCHS takes a number from 1 to 1000 here, not '0'"),
        ("gradual:", "takes a number from 1 to 1000 here, not ''"),
        ("head-then:", "head-then: takes what is to follow the head, such as none in head-then:none .* not ''"),
        ("head-then:all-but-head", "takes what is to follow the head"),
        ("head-then:auto", "takes what is to follow the head"),
        ("head-then:head-then:none", "takes what is to follow the head"),
        ("head-then:lst:1", "Did you mean last:"),
        ("gradal", "Did you mean gradual"),
        ("aut", "Did you mean auto"),
    ],
)
def test_a_strategy_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(OptionError, match=message):
        parse_freeze(text, STAGES)


def phases_of(**values):
    return plan(FinetuneOptions(**{"base": "mobilenet_v2", "data": "x", "weights": "w.h5", **values})).phases


def test_the_head_learns_fast_on_the_cache_and_thawed_stages_slowly_on_changed_photos():
    head, rest = phases_of(freeze="head-then:none", epochs=20)
    assert (head.learning_rate, head.cached, head.augment, head.patience, head.epochs) == (3e-3, True, "none", 8, 10)
    assert (rest.learning_rate, rest.cached, rest.augment, rest.patience, rest.epochs) == (1e-3, False, "light", 0, 10)
    assert (rest.views, rest.first_epoch, rest.frozen) == (None, 10, ())


def test_networks_without_batch_norms_are_thawed_with_care():
    assert [p.learning_rate for p in phases_of(base="vgg16", freeze="head-then:none")] == [3e-3, 1e-4]
    assert [p.learning_rate for p in phases_of(freeze="none")] == [3e-4], "nor is what starts with a random head"


def test_a_learning_rate_is_that_of_thawed_stages_and_never_slows_the_head_before_them():
    assert [p.learning_rate for p in phases_of(freeze="head-then:none", learning_rate=1e-4)] == [3e-3, 1e-4]
    assert [p.learning_rate for p in phases_of(freeze="head-then:none", learning_rate=0.01)] == [0.01, 0.01]
    assert [p.learning_rate for p in phases_of(freeze="all-but-head", learning_rate=1e-4)] == [1e-4]


def test_what_moves_frozen_stages_or_mixes_pixels_leaves_nothing_to_cache():
    assert [p.cached for p in phases_of(freeze="all-but-head")] == [True]
    assert [p.cached for p in phases_of(freeze="all-but-head", cache=False)] == [False]
    assert [p.cached for p in phases_of(freeze="all-but-head", batch_norm="train")] == [False]
    assert [p.cached for p in phases_of(freeze="all-but-head", mix="mixup")] == [False]
    assert [(p.cached, p.mix) for p in phases_of(freeze="head-then:last:1", mix="cutmix")] == [
        (True, "none"),
        (False, "cutmix"),
    ]


def test_cached_stages_are_augmented_only_when_asked():
    assert [p.augment for p in phases_of(freeze="last:1")] == ["none"]
    assert [(p.augment, p.views) for p in phases_of(freeze="last:1", augment="light")] == [("light", 4)]
    assert [(p.augment, p.views) for p in phases_of(freeze="none")] == [("light", None)]
    assert [p.augment for p in phases_of(freeze="none", weights="none")] == ["none"]


def two_phases(tmp_path, data, **values):
    """LeNet-5 from random weights: the smallest network that has a head to begin with."""
    return FinetuneOptions(
        **{
            "base": "lenet5",
            "weights": "none",
            "freeze": "head-then:none",
            "epochs": 4,
            "batch_size": 8,
            "runs": tmp_path / "runs",
            "name": "two",
            "data": data,
            "seed": 1,
            "patience": 0,
            "max_thaw_drop": 1.0,
            **values,
        }
    )


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))


def test_a_run_in_two_phases_is_one_run(tmp_path, make_folder, own_cache):
    folder = finetune(two_phases(tmp_path, make_folder(each=8)), told := Told())
    manifest = read_manifest(folder)
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    schedule = manifest["schedule"]
    assert (schedule["epochs"], schedule["epochs_run"], schedule["drops"]) == (4, 4, [])
    assert [p["frozen_stages"] for p in schedule["phases"]] == [manifest["stages"], []]
    assert [(p["ran"], p["epochs"]) for p in schedule["phases"]] == [([1, 2], 2), ([3, 4], 2)]
    assert manifest["freeze"]["frozen_stages"] == []
    assert manifest["freeze"]["unmoved"] == {}
    assert any("Frozen stages" in line for line in told.lines) or manifest["freeze"]["cache"] is None


def weights_of_run(folder):
    return [
        w
        for layer in keras.saving.load_model(folder / "model.keras", compile=False).layers
        for w in layer.get_weights()
    ]


@pytest.mark.parametrize("steps", [1, 5, 6, 9])
def test_a_run_killed_in_either_phase_goes_on_and_ends_the_same(tmp_path, make_folder, own_cache, monkeypatch, steps):
    """Three steps an epoch, two epochs a phase: 12 steps."""
    monkeypatch.setattr(checkpoints, "_EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "_SHARE", 0.0)
    data = make_folder(each=10)
    whole = finetune(two_phases(tmp_path, data, name="whole"))
    real, count = loop.compile_for_training, [0]

    def dying(*args, **kwargs):
        compiled = real(*args, **kwargs)
        step = compiled.train_on_batch

        def counted(*batch):
            if count[0] == steps:
                raise Killed
            count[0] += 1
            return step(*batch)

        object.__setattr__(compiled, "train_on_batch", counted)
        return compiled

    with monkeypatch.context() as patched:
        patched.setattr(loop, "compile_for_training", dying)
        # A killed process removes nothing behind it.
        patched.setattr("tlkit.transfer.finetune.shutil.rmtree", lambda *args, **kwargs: None)
        with pytest.raises(Killed):
            finetune(two_phases(tmp_path, data))
    again = resume("two", tmp_path / "runs", {})
    assert read_manifest(again)["schedule"]["epochs_run"] == 4
    differences = [np.abs(a - b).max() for a, b in zip(weights_of_run(whole), weights_of_run(again), strict=True)]
    assert max(differences) < 1e-6


# --- What thawing may lose


def second_phase(losses, folder=None, max_drop=0.1, **values):
    """A phase after one whose best epoch had all of four photos right."""
    source = small_source(losses, **values)
    before = training(source, epochs=1)
    before.state.rows = [{"epoch": 1, "loss": 0.1, "val_loss": 0.05, "val_accuracy": 1.0}]
    before.state.best_epoch, before.state.best_loss, before.state.finished = 1, 0.05, True
    schedule = Schedule(epochs=3, batch_size=4, learning_rate=0.05, patience=0)
    kwargs = {"frozen": (), "seed": 3, "folder": folder, "first_epoch": 1, "max_drop": max_drop}
    return source, Training(source, photo_set(), schedule, before=before.state, **kwargs)


WRONG, RIGHT = 3.0, 0.01  # losses at which small_source's answers are wrong and right


def test_a_first_thawed_epoch_that_loses_too_much_returns_to_the_best_weights_and_goes_on_slower():
    source, phase = second_phase([WRONG, RIGHT, RIGHT, RIGHT])
    assert phase.run(told := Told())
    assert told.lines == [
        "Thawing lost too much: validation accuracy fell from 100.0% to 0.0% in epoch 2, and 10.0% may be lost "
        "beyond chance (--max-thaw-drop). The run returns to the weights of epoch 1, and goes on with a learning rate "
        "of 0.015."
    ]
    rows = phase.state.rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert [drop["epoch"] for drop in phase.state.drops] == [2]
    assert rows[2]["learning_rate"] == pytest.approx(0.3 * rows[1]["learning_rate"])
    assert phase.state.best_epoch == 3


def test_the_weights_after_a_drop_are_those_before_the_phase():
    seen = []
    source, phase = second_phase(
        [WRONG] * 9, on_step=lambda n: seen.append([w.copy() for w in source.model.get_weights()])
    )
    start = source.model.get_weights()
    phase.run(Told())
    for step in (0, 3, 6):  # where each of the three attempts begins
        assert all(np.array_equal(a, b) for a, b in zip(seen[step], start, strict=True)), step
    assert all(np.array_equal(a, b) for a, b in zip(source.model.get_weights(), start, strict=True))


def test_after_three_drops_the_run_ends_with_the_weights_it_had():
    source, phase = second_phase([WRONG] * 9)
    assert phase.run(told := Told())
    assert len(phase.state.drops) == 3
    assert phase.state.best_epoch == 1
    assert told.lines[-1].endswith("and ends with them. Try --layer-decay, or --freeze all-but-head.")


def test_a_drop_within_the_margin_is_none_of_anyones_business():
    _, phase = second_phase([WRONG, WRONG, WRONG], max_drop=1.0)
    assert phase.run(told := Told())
    assert told.lines == [] and phase.state.drops == []
    assert phase.state.best_epoch == 1, "and still the best weights are kept"


def test_each_phase_has_attempts_of_its_own():
    """What an earlier phase lost and won back does not count against a later one."""
    _, phase = second_phase([WRONG, RIGHT, RIGHT, RIGHT])
    phase.run(Told())
    later = small_source([WRONG, RIGHT, RIGHT, RIGHT])
    third = Training(
        later,
        photo_set(),
        Schedule(epochs=3, batch_size=4, learning_rate=0.05, patience=0),
        frozen=(),
        seed=3,
        first_epoch=4,
        max_drop=0.1,
        before=phase.state,
    )
    assert third.run(told := Told())
    assert told.lines[0].endswith("and goes on with a learning rate of 0.015.")
    assert len(third.state.drops) == 2 and not third.state.stopped


def test_a_model_that_was_trained_before_is_kept_where_training_makes_it_worse():
    source = small_source([RIGHT, *[WRONG] * 9])
    schedule = Schedule(epochs=3, batch_size=4, learning_rate=0.05, patience=0)
    start = source.model.get_weights()
    one = Training(source, photo_set(), schedule, frozen=(), seed=3, max_drop=0.1, trained_before=True)
    assert one.run(told := Told())
    assert "The run returns to the weights of the run that it began with" in told.lines[0]
    assert (one.state.best_epoch, len(one.state.drops), one.state.stopped) == (0, 3, True)
    assert all(np.array_equal(a, b) for a, b in zip(source.model.get_weights(), start, strict=True))


def test_what_is_not_a_number_is_not_a_loss():
    assert loss_beyond_chance(float("nan"), 0.5, 10) == 0
    assert loss_beyond_chance(0.9, float("nan"), 10) == 0
    assert loss_beyond_chance(0.5, 0.5, 100) < 0 < loss_beyond_chance(0.9, 0.1, 100)


def test_a_stop_by_a_callback_is_not_forgotten_by_a_kill(tmp_path, make_folder, own_cache, monkeypatch):
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda *args: setattr(stop.model, "stop_training", True))
    with monkeypatch.context() as patched:
        patched.setattr(job.results, "save_labels", lambda *args: (_ for _ in ()).throw(Killed()))
        patched.setattr("tlkit.transfer.finetune.shutil.rmtree", lambda *args, **kwargs: None)
        with pytest.raises(Killed):
            finetune(two_phases(tmp_path, make_folder(each=8)), callbacks=[stop])
    assert read_manifest(resume("two", tmp_path / "runs", {}))["schedule"]["epochs_run"] == 1


def test_callbacks_hear_of_one_row_after_the_other(tmp_path, make_folder, own_cache):
    heard = []
    listener = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: heard.append(("begin", epoch)),
        on_epoch_end=lambda epoch, logs: heard.append(("end", epoch)),
    )
    values = two_phases(tmp_path, make_folder(each=8), epochs=6, patience=1, learning_rate=1e-7)
    epochs = read_manifest(finetune(values, callbacks=[listener]))["schedule"]["epochs_run"]
    assert heard == [(what, epoch) for epoch in range(epochs) for what in ("begin", "end")]


# --- The guarantee


def test_a_run_records_that_its_frozen_stages_are_the_pretrained_ones(tmp_path, make_folder, own_cache):
    keras.utils.set_random_seed(5)
    pretrained = registry.build("mobilenet_v2", classes=3, input_size=32, head="gap")
    pretrained.save_weights(tmp_path / "w.weights.h5")
    folder = finetune(
        FinetuneOptions(
            base="mobilenet_v2",
            data=make_folder(each=6),
            weights=tmp_path / "w.weights.h5",
            freeze="last:1",
            input_size=32,
            epochs=2,
            runs=tmp_path / "runs",
        )
    )
    manifest = read_manifest(folder)
    frozen = manifest["freeze"]["frozen_stages"]
    assert frozen == manifest["stages"][:-1]
    assert manifest["freeze"]["unmoved"] == fingerprints(pretrained, frozen)
    saved = keras.saving.load_model(folder / "model.keras", compile=False)
    check_unmoved(manifest["freeze"]["unmoved"], saved)
    last = manifest["stages"][-1:]
    with pytest.raises(TlkitError, match=f"Frozen stages have moved in training: {last[0]}"):
        check_unmoved(fingerprints(pretrained, last), saved)


def test_a_statistic_of_a_frozen_batch_norm_that_moves_is_noticed(tmp_path, make_folder, own_cache, monkeypatch):
    real = phases.train

    def moving(prepared, *args):
        trained = real(prepared, *args)
        norm = prepared.model.get_layer("stem_conv_bn")
        norm.moving_mean.assign(norm.moving_mean + 1e-6)
        return trained

    monkeypatch.setattr(job.phases, "train", moving)
    options = FinetuneOptions(
        base="mobilenet_v2",
        data=make_folder(each=6),
        weights="none",
        freeze="all-but-head",
        input_size=32,
        epochs=1,
        runs=tmp_path / "runs",
    )
    with pytest.raises(TlkitError, match="Frozen stages have moved in training: stem. Nothing was saved"):
        finetune(options)
    assert not any((tmp_path / "runs").rglob("model.keras"))


def test_training_all_batch_norms_moves_those_of_frozen_stages_alone(tmp_path, make_folder, own_cache):
    keras.utils.set_random_seed(5)
    pretrained = registry.build("mobilenet_v2", classes=3, input_size=32, head="gap")
    pretrained.save_weights(tmp_path / "w.weights.h5")
    folder = finetune(
        FinetuneOptions(
            base="mobilenet_v2",
            data=make_folder(each=6),
            weights=tmp_path / "w.weights.h5",
            freeze="all-but-head",
            batch_norm="train",
            input_size=32,
            epochs=1,
            runs=tmp_path / "runs",
        ),
        told := Told(),
    )
    assert (
        "Frozen stages are computed in every epoch: --batch-norm train moves their batch norms, so there is nothing to "
        "cache" in told.lines
    )
    saved = keras.saving.load_model(folder / "model.keras", compile=False)
    assert not np.array_equal(
        saved.get_layer("stem_conv_bn").moving_mean, pretrained.get_layer("stem_conv_bn").moving_mean
    )
    assert np.array_equal(saved.get_layer("stem_conv").kernel, pretrained.get_layer("stem_conv").kernel)
    assert read_manifest(folder)["freeze"]["batch_norm"] == "train"


def test_ctrl_c_between_two_phases_keeps_what_the_first_has_trained(tmp_path, make_folder, own_cache, monkeypatch):
    real, count = phases.make_source, [0]

    def pressed(*args):
        count[0] += 1
        if count[0] == 2:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(phases, "make_source", pressed)
        folder = finetune(two_phases(tmp_path, make_folder(each=8)))
    manifest = read_manifest(folder)
    assert (manifest["status"], manifest["schedule"]["interrupted"]) == ("complete", True)
    assert manifest["schedule"]["epochs_run"] == 2
    whole = read_manifest(finetune(two_phases(tmp_path, tmp_path / "photos", name="whole")))
    again = read_manifest(resume("two", tmp_path / "runs", {}))
    assert again["schedule"]["epochs_run"] == 4
    assert again["metrics"] == whole["metrics"]
