"""Order, schedule, and one trace."""

import keras
import numpy as np
import pytest

from tlkit.errors import OptionError
from tlkit.progress import Bar
from tlkit.transfer.training import KeepBest, Schedule, compile_for_training, epoch_order, softmax, whole_order


def schedule(**values):
    return Schedule(**{"epochs": 3, "batch_size": 4, "learning_rate": 0.01, "patience": 0, **values})


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    first = epoch_order(10, 4, seed=1, epoch=2)
    again = epoch_order(10, 4, seed=1, epoch=2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert sorted(np.concatenate(first)) == list(range(10))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert not np.array_equal(np.concatenate(first), np.concatenate(epoch_order(10, 4, seed=1, epoch=3)))
    assert not np.array_equal(np.concatenate(first), np.concatenate(epoch_order(10, 4, seed=2, epoch=2)))


def test_the_whole_order_is_its_epochs_in_turn():
    whole = list(whole_order(10, schedule(), seed=1))
    assert len(whole) == 9
    assert np.array_equal(whole[3], epoch_order(10, 4, seed=1, epoch=1)[0])


def small_model():
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    return keras.Model(image, keras.layers.Dense(3, name="head_logits")(image))


def test_the_learning_rate_warms_up_and_falls_to_zero():
    model = small_model()
    compile_for_training(model, schedule(), steps=100)
    rate = model.optimizer._learning_rate
    assert 0 < float(rate(0)) < 0.002
    assert float(rate(10)) == pytest.approx(0.01)
    assert float(rate(55)) == pytest.approx(0.005, rel=0.01)
    assert float(rate(100)) == pytest.approx(0, abs=1e-9)


def count_traces(compile_model):
    """Returns how often a layer is traced before the end of the first epochs."""
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            traces.append(1)
            return x * 1.0

    image = keras.Input((6,))
    model = keras.Model(image, keras.layers.Dense(3)(Counting()(image)))
    compile_model(model)
    built = len(traces)
    x, y = np.ones((10, 6), np.float32), np.zeros(10, int)
    batches = ((x[i], y[i]) for i in whole_order(10, schedule(), seed=0))
    model.fit(batches, steps_per_epoch=3, epochs=3, shuffle=False, verbose=0)
    return len(traces) - built


def test_the_train_step_is_traced_once():
    """Facts: Keras traces twice when the optimizer makes its variables in the first trace."""
    plain = count_traces(lambda model: model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False))
    ours = count_traces(lambda model: compile_for_training(model, schedule(), steps=9))
    assert ours == plain - 1


def fit(model, settings, losses):
    """Trains while validation is told its losses."""
    compile_for_training(model, settings, steps=50)
    labels = np.zeros(4, int)
    told = iter(losses)

    def predict():
        p = np.exp(-next(told))
        return np.log(np.tile([[p, (1 - p) / 2, (1 - p) / 2]], (4, 1)))

    keep = KeepBest(predict, labels, settings, Bar(1), 8)
    x, y = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32), np.zeros(8, int)
    model.fit(x, y, epochs=settings.epochs, callbacks=[keep], verbose=0)
    return keep


def test_the_best_epoch_is_kept_and_training_stops_when_patience_ends():
    model = small_model()
    keep = fit(model, schedule(epochs=10, patience=2), [0.9, 0.5, 0.6, 0.7, 0.1, 0.1])
    assert len(keep.history.rows) == 4
    assert keep.history.best_epoch == 2
    ended = model.get_weights()
    keep.restore()
    assert not np.array_equal(ended[0], model.get_weights()[0])
    twice = small_model()
    fit(twice, schedule(epochs=2), [0.9, 0.5])
    assert all(np.array_equal(a, b) for a, b in zip(twice.get_weights(), model.get_weights(), strict=True))


def test_patience_zero_never_stops():
    keep = fit(small_model(), schedule(epochs=5, patience=0), [0.1, 0.5, 0.6, 0.7, 0.8])
    assert len(keep.history.rows) == 5
    assert keep.history.best_epoch == 1


def test_a_diverged_training_says_what_to_do():
    with pytest.raises(OptionError, match="Training diverged: in epoch 1 .*Use a smaller --learning-rate than 0.01"):
        fit(small_model(), schedule(), [float("nan")] * 3)


def test_softmax_sums_to_one_and_survives_large_logits():
    probabilities = softmax(np.array([[1000.0, 0.0], [0.0, 0.0]]))
    assert np.allclose(probabilities, [[1, 0], [0.5, 0.5]])
