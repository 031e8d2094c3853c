"""Validation, patience, the best epoch, and a state that survives."""

import errno
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.data.discover import Photo
from tlkit.data.split import PhotoSet
from tlkit.errors import DivergedError, RunError
from tlkit.progress import Progress
from tlkit.transfer import checkpoint as module
from tlkit.transfer.loop import Training
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.source import Source


def photo_set(train=10, val=4):
    photos = [Photo(f"{i}.png", i % 3, f"{i:064x}") for i in range(train + val)]
    return PhotoSet(
        root=Path(),
        kind="classes",
        classes=("a", "b", "c"),
        train=tuple(photos[:train]),
        val=tuple(photos[train:]),
        test=(),
        problems=(),
    )


def small_source(losses=None, on_step=lambda number: None, dropout=0.3):
    """A model of one layer behind dropout; validation is told its losses, or computed."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    x = keras.layers.Dropout(dropout, seed=1)(keras.layers.Dense(8, activation="relu", name="stem_a")(image))
    model = keras.Model(image, keras.layers.Dense(3, name="head_logits")(x))
    x = np.random.default_rng(0).normal(size=(14, 6)).astype(np.float32)
    labels = np.arange(14) % 3
    told = iter(losses or [])
    count = [0]

    def batches(steps):
        for step in steps:
            on_step(count[0])
            count[0] += 1
            yield x[step.indices], labels[step.indices], np.ones(len(step.indices), np.float32)

    def val_logits():
        if losses is None:
            return keras.ops.convert_to_numpy(model(x[10:], training=False))
        p = np.exp(-next(told))
        wrong = (1 - p) / 2
        return np.log(np.array([[p if c == label else wrong for c in range(3)] for label in labels[10:]]))

    return Source(model=model, batches=batches, val_logits=val_logits, held_out_logits=val_logits)


def training(source, folder=None, **values):
    schedule = Schedule(**{"epochs": 5, "batch_size": 4, "learning_rate": 0.05, "patience": 0, **values})
    return Training(source, photo_set(), schedule, frozen=(), seed=3, folder=folder)


def test_the_best_epoch_is_kept_and_training_stops_when_patience_ends():
    source = small_source([0.9, 0.5, 0.6, 0.7, 0.1, 0.1])
    one = training(source, epochs=10, patience=2)
    assert one.run(Progress())
    assert len(one.state.rows) == 4
    assert one.state.best_epoch == 2
    twice = small_source([0.9, 0.5])
    training(twice, epochs=10).state  # noqa: B018 (the schedule of ten epochs)
    stopped = small_source([0.9, 0.5, 0.4], on_step=_raise_at(6))
    two = training(stopped, epochs=10)
    with pytest.raises(RuntimeError):
        two.run(Progress())
    for a, b in zip(source.model.get_weights(), stopped.model.get_weights(), strict=True):
        assert np.array_equal(a, b)


def _raise_at(step, error=None):
    def on_step(number):
        if number == step:
            raise error or RuntimeError("stop")

    return on_step


def test_patience_zero_never_stops():
    one = training(small_source([0.1, 0.5, 0.6, 0.7, 0.8]))
    assert one.run(Progress())
    assert len(one.state.rows) == 5
    assert one.state.best_epoch == 1


def test_a_row_holds_the_means_over_the_epoch():
    one = training(small_source([0.5] * 5))
    one.run(Progress())
    row = one.state.rows[0]
    assert list(row) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert row["val_loss"] == pytest.approx(0.5)
    assert 0 <= row["accuracy"] <= 1
    assert row["accuracy"] * 10 == pytest.approx(round(row["accuracy"] * 10))


def test_a_diverged_training_says_what_to_do():
    with pytest.raises(DivergedError, match="Training diverged: in epoch 1 .*Use a smaller --learning-rate than 0.05"):
        training(small_source([float("nan")] * 5)).run(Progress())


def weights_of(source):
    return source.model.get_weights()


@pytest.mark.parametrize("stop", range(15))
def test_training_that_goes_on_from_any_step_ends_with_the_same_weights(tmp_path, stop, monkeypatch):
    monkeypatch.setattr(module, "_EVERY", 0.0)
    monkeypatch.setattr(module, "_SHARE", 0.0)  # a checkpoint after every step
    whole = small_source()
    assert training(whole).run(Progress())
    killed = small_source(on_step=_raise_at(stop))
    with pytest.raises(RuntimeError):
        training(killed, tmp_path).run(Progress())
    again = small_source()
    keras.utils.set_random_seed(99)  # nothing may come from global random numbers
    one = training(again, tmp_path)
    assert one.state.done == stop
    assert one.run(Progress())
    assert len(one.state.rows) == 5
    assert max(np.abs(a - b).max() for a, b in zip(weights_of(whole), weights_of(again), strict=True)) < 1e-6


def test_training_that_was_finished_is_not_trained_again(tmp_path):
    first = small_source()
    training(first, tmp_path).run(Progress())
    again = small_source(on_step=_raise_at(0))
    one = training(again, tmp_path)
    assert one.run(Progress())
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(first), weights_of(again), strict=True))


def test_the_first_ctrl_c_stops_after_the_batch_with_the_best_weights_so_far(tmp_path):
    def press(number):
        if number == 7:
            signal.raise_signal(signal.SIGINT)

    source = small_source(on_step=press)
    one = training(source, tmp_path)
    assert not one.run(Progress())
    assert one.state.done == 8
    assert len(one.state.rows) == 2
    whole = small_source()
    training(whole).run(Progress())
    again = small_source()
    rest = training(again, tmp_path)
    assert rest.state.done == 8
    assert rest.run(Progress())
    assert max(np.abs(a - b).max() for a, b in zip(weights_of(whole), weights_of(again), strict=True)) < 1e-6


def test_a_second_ctrl_c_stops_at_once():
    def press(number):
        if number == 7:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training(small_source(on_step=press)).run(Progress())
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_the_first_epoch_leaves_the_weights_as_they_are():
    def press(number):
        if number == 1:
            signal.raise_signal(signal.SIGINT)

    source = small_source(on_step=press)
    start = weights_of(source)
    one = training(source)
    assert not one.run(Progress())
    assert one.state.rows == []
    assert any(not np.array_equal(a, b) for a, b in zip(start, weights_of(source), strict=True))


def test_a_full_disk_ends_the_checkpoints_not_the_training(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    told = []

    class Told(Progress):
        def warn(self, text):
            told.append(text)

    monkeypatch.setattr(module, "_EVERY", 0.0)
    monkeypatch.setattr(module.np, "savez", full)
    assert training(small_source(), tmp_path).run(Told())
    assert told == [
        "The checkpoint can't be written (No space left on device). Training goes on; to resume it would start "
        "from an older one, or anew."
    ]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"x" * 1000])
def test_a_broken_checkpoint_is_refused(tmp_path, content):
    training(small_source(), tmp_path).run(Progress())
    (tmp_path / "checkpoints" / "state.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"state.npz is broken .*Train again, without --resume"):
        training(small_source(), tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    training(small_source(), tmp_path).run(Progress())
    image = keras.Input((6,))
    dense = [keras.layers.Dense(n, name=name) for n, name in ((9, "stem_a"), (3, "head_logits"))]
    other = keras.Model(image, dense[1](keras.layers.Dropout(0.1)(dense[0](image))))
    source = small_source()
    changed = Source(**{**vars(source), "model": other})
    with pytest.raises(RunError, match="is of another model"):
        training(changed, tmp_path)
