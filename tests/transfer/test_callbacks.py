"""Real Keras callbacks in our loop."""

import csv

import keras
import numpy as np
import pytest

import tlkit
from tlkit.errors import OptionError
from tlkit.transfer.callbacks import Watch, check_callbacks


class Calls(keras.callbacks.Callback):
    """Writes down what is called, and how."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs, self.begun = [], [], 0

    def on_train_begin(self, logs=None):
        assert self.params["epochs"] and self.params["steps"] and self.model is not None
        self.calls.append("train begins")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch}")

    def on_train_batch_begin(self, batch, logs=None):
        self.begun += 1

    def on_train_batch_end(self, batch, logs=None):
        assert set(logs) == {"loss", "accuracy"}
        self.calls.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} ends")
        self.logs.append(logs)

    def on_train_end(self, logs=None):
        self.calls.append("train ends")
        self.at_the_end = self.model.get_weights()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return {"base": "lenet5", "runs": tmp_path_factory.mktemp("runs"), "batch_size": 500}


def test_they_are_called_in_keras_order_over_all_phases(digits):
    seen = Calls()
    run = tlkit.finetune(**digits, epochs=3, freeze="head-then:none", callbacks=[seen])
    batches = [0, 1, 2]
    wanted = ["train begins"]
    for epoch in range(3):
        wanted += [f"epoch {epoch}", *batches, f"epoch {epoch} ends"]
    assert seen.calls == [*wanted, "train ends"]
    assert seen.begun == 9
    assert seen.params == {"epochs": 3, "steps": 3, "verbose": 0}
    for logs, row in zip(seen.logs, run.history, strict=True):
        assert set(logs) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
        assert all(logs[name] == pytest.approx(row[name], rel=1e-4) for name in logs)


def test_the_model_is_the_whole_one_also_with_cached_features(digits, tmp_path):
    seen = Calls()
    best = tmp_path / "best.weights.h5"
    kept = keras.callbacks.ModelCheckpoint(best, monitor="val_loss", save_best_only=True, save_weights_only=True)
    run = tlkit.finetune(**digits, epochs=2, freeze="all-but-head", weights="none", callbacks=[seen, kept])
    assert seen.model.input.shape == (None, 28, 28, 3)
    assert all(np.array_equal(a, b) for a, b in zip(seen.at_the_end, run.model.get_weights(), strict=True))
    whole = tlkit.build("lenet5", classes=10, input_size=28)
    whole.load_weights(best)
    assert all(np.allclose(a, b) for a, b in zip(whole.get_weights(), run.model.get_weights(), strict=True))


def test_stop_training_ends_it_after_the_epoch_and_all_phases(digits, tmp_path):
    file = tmp_path / "log.csv"
    seen = Calls()

    def stop(batch, logs):
        seen.model.stop_training = True  # in the middle of the first epoch

    callbacks = [
        seen,
        keras.callbacks.CSVLogger(file),
        keras.callbacks.LambdaCallback(on_train_batch_end=stop),
    ]
    run = tlkit.finetune(**digits, epochs=4, freeze="head-then:none", callbacks=callbacks)
    assert seen.calls[-4:] == [1, 2, "epoch 0 ends", "train ends"]
    assert (run.manifest["status"], run.manifest["schedule"]["epochs_run"]) == ("complete", 1)
    assert run.manifest["schedule"]["interrupted"] is False
    (row,) = csv.DictReader(file.read_text().splitlines())
    assert float(row["val_loss"]) == pytest.approx(run.history[0]["val_loss"], rel=1e-4)


def test_early_stopping_stops_and_its_weights_are_kept(digits):
    seen = Calls()
    early = keras.callbacks.EarlyStopping("val_loss", baseline=0.0, patience=1, restore_best_weights=True)
    never = keras.callbacks.EarlyStopping("val_accuracy", baseline=-1.0, patience=100)
    run = tlkit.finetune(**digits, epochs=6, callbacks=[seen, early, never])
    assert never.best == pytest.approx(max(row["val_accuracy"] for row in run.history), rel=1e-4)
    assert run.manifest["schedule"]["epochs_run"] == 2  # nothing is below its baseline
    assert all(np.array_equal(a, b) for a, b in zip(early.model.get_weights(), run.model.get_weights(), strict=True))


def test_tensorboard_and_terminate_on_nan_work(digits, tmp_path):
    pytest.importorskip("tensorboard")
    board = keras.callbacks.TensorBoard(tmp_path / "logs", write_graph=False)
    tlkit.finetune(**digits, epochs=1, callbacks=[board, keras.callbacks.TerminateOnNaN()])
    written = [path.parent.name for path in (tmp_path / "logs").rglob("events.*")]
    assert sorted(written) == ["train", "validation"]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (
            lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
            "LearningRateScheduler can't work in tlkit.finetune: the learning rate warms up, then follows a cosine",
        ),
        (lambda: keras.callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau can't work .*falls to 0 by itself"),
        (lambda: keras.callbacks.BackupAndRestore("x"), "BackupAndRestore can't work .*Use tlkit.resume"),
        (lambda: keras.callbacks.SwapEMAWeights(), "SwapEMAWeights can't work .*Use ema=0.99"),
        (lambda: print, "callbacks takes objects of keras.callbacks, not <built-in function print>"),
        (lambda: type("Mine", (keras.callbacks.ReduceLROnPlateau,), {})(), "ReduceLROnPlateau can't work"),
    ],
)
def test_what_can_not_work_is_refused(callback, message):
    with pytest.raises(OptionError, match=message):
        check_callbacks([callback()])


def test_they_are_refused_before_anything_is_trained(digits):
    before = list(digits["runs"].iterdir())
    with pytest.raises(OptionError, match="ReduceLROnPlateau can't work"):
        tlkit.finetune(**digits, callbacks=[keras.callbacks.ReduceLROnPlateau()])
    assert list(digits["runs"].iterdir()) == before
    with pytest.raises(OptionError, match="ReduceLROnPlateau can't work"):
        tlkit.resume("none", digits["runs"], callbacks=[keras.callbacks.ReduceLROnPlateau()])


def test_without_callbacks_nothing_is_called():
    watch = Watch()
    watch.phase(3, keras.optimizers.SGD())
    watch.before_batch(0, 0)
    watch.after_batch(0, loss=1.0, accuracy=0.5)
    assert watch.after_epoch({"epoch": 1}) is False
    watch.end([])


def test_one_callback_outside_of_a_list_is_refused():
    with pytest.raises(OptionError, match=r"callbacks takes a list of them: \[CSVLogger\(...\)\]"):
        check_callbacks(keras.callbacks.CSVLogger("x.csv"))
