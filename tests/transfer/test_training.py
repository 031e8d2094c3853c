"""Order, schedule, the optimizer, and one trace."""

import keras
import numpy as np
import pytest

from tlkit.models import registry
from tlkit.transfer.fused_adam import FusedAdam
from tlkit.transfer.schedule import Schedule, epoch_order, steps_from
from tlkit.transfer.training import compile_for_training, softmax

from ..conftest import settled

LABELS = np.arange(10) % 3


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


def test_the_steps_are_those_of_the_epochs_in_turn():
    whole = list(steps_from(0, LABELS, schedule(), seed=1))
    assert [step.epoch for step in whole] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert np.array_equal(whole[3].indices, epoch_order(10, 4, seed=1, epoch=1)[0])


@pytest.mark.parametrize("done", range(10))
def test_steps_that_go_on_are_those_that_were_left(done):
    whole = list(steps_from(0, LABELS, schedule(), seed=1))
    rest = list(steps_from(done, LABELS, schedule(), seed=1))
    assert len(rest) == 9 - done
    assert all(np.array_equal(a.indices, b.indices) for a, b in zip(rest, whole[done:], strict=True))


def small_model():
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    return keras.Model(image, keras.layers.Dense(3, name="head_logits")(image))


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rate = compile_for_training(small_model(), schedule(), steps=100).optimizer._learning_rate
    assert 0 < float(rate(0)) < 0.002
    assert float(rate(10)) == pytest.approx(0.01)
    assert float(rate(55)) == pytest.approx(0.005, rel=0.01)
    assert float(rate(100)) == pytest.approx(0, abs=1e-9)


def test_the_train_step_is_traced_once_whatever_the_batch_size():
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            traces.append(1)
            return x * 1.0

    image = keras.Input((6,))
    model = keras.Model(image, keras.layers.Dense(3)(Counting()(image)))
    compiled = compile_for_training(model, schedule(), steps=9)
    built = len(traces)
    for size in (4, 4, 2):
        compiled.train_on_batch(np.ones((size, 6), np.float32), np.zeros(size, int), np.ones(size, np.float32))
    assert len(traces) - built == 1


def batches(classes, size, count):
    random = np.random.default_rng(0)
    for _ in range(count):
        labels = random.integers(0, classes, 8)
        pixels = random.uniform(0, 255, (8, size, size, 3)) * (1 + labels[:, None, None, None]) / classes
        yield pixels.astype(np.float32), labels, random.uniform(0.5, 2, 8).astype(np.float32)


@pytest.mark.parametrize("frozen", [0, 3])
def test_steps_are_those_of_keras_with_its_own_adam(frozen):
    """Loss, gradients, batch-norm statistics and updates, against the step that `fit` makes, to rounding.

    Both begin every step with the same weights: rounding grows from step to step in any two programs.
    """
    keras.utils.set_random_seed(0)
    ours = settled(registry.build("mobilenet_v2", classes=4, input_size=32, head="gap", dropout=0.0))
    theirs = registry.build("mobilenet_v2", classes=4, input_size=32, head="gap", dropout=0.0)
    stages = registry.find("mobilenet_v2").stages[:frozen]
    compiled = compile_for_training(ours, schedule(learning_rate=1e-3), steps=50, frozen=stages)
    for layer, same in zip(theirs.layers, ours.layers, strict=True):
        layer.trainable = same.trainable
    adam = keras.optimizers.Adam(compiled.optimizer._learning_rate)
    theirs.compile(adam, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    adam.build(theirs.trainable_variables)
    variables = [one for one in compiled.optimizer.variables if one is not compiled.optimizer.slowdown]
    for x, labels, weights in batches(4, 32, 5):
        theirs.set_weights(ours.get_weights())
        for a, b in zip(adam.variables, variables, strict=True):
            a.assign(b)
        losses, _ = compiled.train_on_batch(x, labels, weights)
        loss = theirs.train_on_batch(x, labels, weights)
        theirs.reset_metrics()
        assert losses / len(x) == pytest.approx(float(loss), rel=1e-5)
        moments = zip(variables, adam.variables, strict=True)
        differences = [np.abs(a - b).max() / max(np.abs(b).max(), 1e-9) for a, b in map(_numpy, moments)]
        assert max(differences) < 1e-3
        for a, b in map(_numpy, zip(ours.weights, theirs.weights, strict=True)):
            # Adam divides by the gradient's own size: where that is rounding alone, a step of 1e-3 has any sign.
            assert np.mean(np.abs(a - b) > 1e-6 * np.abs(b).max() + 2e-6) < 0.02


def _numpy(pair):
    return tuple(np.asarray(variable.numpy(), np.float64) for variable in pair)


def test_the_fused_update_is_that_of_keras_adam_on_given_gradients():
    random = np.random.default_rng(0)
    values = [random.normal(size=shape).astype(np.float32) for shape in ((3, 3, 4, 8), (8,), (8, 5))]
    gradients = [[random.normal(0, 10.0**-k, v.shape).astype(np.float32) for v in values] for k in range(8)]
    results = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        variables = [keras.Variable(value) for value in values]
        optimizer = kind(learning_rate=keras.optimizers.schedules.CosineDecay(0.1, 8))
        optimizer.build(variables)
        for one in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in one], variables)
        results.append([v.numpy() for v in [*variables, *optimizer.variables]])
    assert len(results[0]) == 3 + 1 + 6
    for fused, plain, start in zip(*results, [*values, *[0.0] * 7], strict=True):
        # 1 - 0.999 is off by 5e-5 in float32, in which the operation computes it; Keras does so in Python.
        assert np.abs(fused - plain).max() <= 5e-5 * np.abs(plain - start).max()


def test_softmax_sums_to_one_and_survives_large_logits():
    probabilities = softmax(np.array([[1000.0, 0.0], [0.0, 0.0]]))
    assert np.allclose(probabilities, [[1, 0], [0.5, 0.5]])
