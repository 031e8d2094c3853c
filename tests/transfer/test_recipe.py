"""What a step does besides descending: rates by stage, decay, smoothing, averages, mixing, sampling."""

import keras
import numpy as np
import pytest

from tlkit.errors import OptionError
from tlkit.transfer.fused_adam import FusedAdam
from tlkit.transfer.mix import mixer
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan
from tlkit.transfer.schedule import Schedule, Step, epoch_order, steps_from
from tlkit.transfer.training import Recipe, compile_for_training, softmax

STAGES = ("stem", "stage1")
X = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype(np.float32)
LABELS, WEIGHTS = np.array([0, 1, 2, 0]), np.ones(4, np.float32)


def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, name="stem_conv")(image)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.DepthwiseConv2D(3, name="stage1_depthwise")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    return keras.Model(image, keras.layers.Dense(3, name="head_logits")(x))


def compiled(net, steps=10, rate=0.01, frozen=(), **recipe):
    schedule = Schedule(epochs=1, batch_size=4, learning_rate=rate, patience=0)
    return compile_for_training(net, schedule, steps=steps, frozen=frozen, recipe=Recipe(**recipe), stages=STAGES)


def moved(net, one):
    before = {w.path: w.numpy() for w in net.trainable_variables}
    one.train_on_batch(X, LABELS, WEIGHTS)
    return {w.path: np.abs(w.numpy() - before[w.path]).max() for w in net.trainable_variables}


def test_each_stage_learns_at_a_factor_of_the_one_behind_it():
    """Adam's first step moves every weight by its learning rate, whatever the gradient."""
    net = model()
    found = moved(net, compiled(net, layer_decay=0.5))
    head = found["head_logits/kernel"]
    assert found["stage1_depthwise/kernel"] == pytest.approx(0.5 * head, rel=1e-3)
    assert found["stem_conv/kernel"] == pytest.approx(0.25 * head, rel=1e-3)


def test_weight_decay_leaves_biases_and_norms_alone():
    nets = [model(), model()]
    for net, decay in zip(nets, (0.0, 0.5), strict=True):
        for weight in net.trainable_variables:
            weight.assign(weight + 0.3)
        compiled(net, weight_decay=decay).train_on_batch(X, LABELS, WEIGHTS)
    plain, decayed = ({w.path: w.numpy() for w in net.trainable_variables} for net in nets)
    same = {path for path in plain if np.array_equal(plain[path], decayed[path])}
    assert same == {"stem_conv/bias", "stem_bn/gamma", "stem_bn/beta", "stage1_depthwise/bias", "head_logits/bias"}


def test_weight_decay_takes_its_share_times_the_learning_rate():
    variable = keras.Variable(np.full((2, 2), 2.0, np.float32))
    for kind in (FusedAdam, _AsOtherBackends):
        variable.assign(np.full((2, 2), 2.0, np.float32))
        optimizer = kind(learning_rate=0.1)
        optimizer.build_for([variable], factors=[0.5], decays=[0.2])
        optimizer.apply([keras.ops.zeros((2, 2))], [variable])
        assert np.allclose(variable.numpy(), 2.0 * (1 - 0.1 * 0.5 * 0.2)), kind


class _AsOtherBackends(FusedAdam):
    """Takes the road that backends other than TensorFlow take."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        keras.optimizers.Adam._backend_update_step(self, grads, trainable_variables, learning_rate)


def test_both_roads_of_the_optimizer_end_in_the_same_place():
    random = np.random.default_rng(1)
    values = [random.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4,))]
    gradients = [[random.normal(size=v.shape).astype(np.float32) for v in values] for _ in range(5)]
    ends = []
    for kind in (FusedAdam, _AsOtherBackends):
        variables = [keras.Variable(value) for value in values]
        optimizer = kind(learning_rate=0.01)
        optimizer.build_for(variables, factors=[0.3, 1.0], decays=[0.1, 0.0])
        for one in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in one], variables)
        ends.append([variable.numpy() for variable in variables])
    assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(*ends, strict=True))


def test_a_smoothed_label_is_one_less_a_share_that_all_classes_get():
    net = model()
    p = softmax(net(X).numpy())
    targets = 0.9 * np.eye(3)[LABELS] + 0.1 / 3
    losses, _ = compiled(net, batch_norm="frozen", label_smoothing=0.1).train_on_batch(X, LABELS, WEIGHTS)
    assert losses == pytest.approx(-np.sum(targets * np.log(p)), rel=1e-5)


def test_the_average_follows_the_weights_and_is_what_is_validated():
    net = model()
    one = compiled(net, ema=0.5, rate=0.05)
    kernel = net.get_layer("head_logits").kernel
    expected = kernel.numpy()
    for step in range(1, 6):
        one.train_on_batch(X, LABELS, WEIGHTS)
        share = 1 - min(0.5, (1 + step) / (10 + step))
        expected = expected + share * (kernel.numpy() - expected)
    raw = kernel.numpy()
    with one.averaged():
        assert np.allclose(kernel.numpy(), expected, atol=1e-6)
        assert np.abs(kernel.numpy() - raw).max() > 1e-4
    assert np.array_equal(kernel.numpy(), raw)


@pytest.mark.parametrize(
    ("policy", "trained"),
    [("frozen", []), ("with its stage", []), ("train", ["stem_bn/gamma", "stem_bn/beta"])],
)
def test_batch_norms_of_a_frozen_stage_learn_only_when_all_do(policy, trained):
    net = model()
    compiled(net, frozen=("stem",), batch_norm=policy)
    assert [w.path for w in net.trainable_variables if w.path.startswith("stem")] == trained


# --- Mixing


def step(epoch=0, indices=(0, 1, 2, 3)):
    return Step(np.array(indices), epoch)


def test_mixup_blends_photos_and_labels_in_the_same_shares():
    pixels = np.stack([np.full((5, 5, 3), value, np.float32) for value in (0, 10, 20, 30)])
    labels = np.array([0, 1, 2, 3])
    mixed, targets, weights = mixer("mixup", classes=4, seed=0)(step(), pixels, labels, np.array([1, 1, 1, 2.0]))
    assert np.allclose(np.sum(targets, axis=1), 1)
    assert np.allclose(np.asarray(mixed)[:, 0, 0, 0], targets @ np.array([0, 10, 20, 30]), atol=1e-4)
    assert np.allclose(weights, targets @ np.array([1, 1, 1, 2.0]))


def test_cutmix_puts_a_rectangle_of_one_photo_into_another_and_shares_the_label_by_its_area():
    pixels = np.stack([np.full((20, 20, 3), value, np.float32) for value in (0, 1, 2, 3)])
    areas = []
    for epoch in range(20):
        mixed, targets, _ = mixer("cutmix", classes=4, seed=0)(step(epoch), pixels, np.arange(4), np.ones(4))
        for own, photo, target in zip(range(4), np.asarray(mixed), targets, strict=True):
            shares = [np.mean(photo == value) for value in range(4)]
            assert np.allclose(shares, target, atol=1e-6)
            rows, columns = np.nonzero(photo[:, :, 0] != own)
            if len(rows):
                inside = photo[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                assert np.all(inside != own), "a rectangle"
                areas.append(len(rows))
    assert len(set(areas)) > 5


def test_what_is_mixed_depends_on_seed_epoch_and_photos_alone():
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype(np.float32)

    def mixed(seed, one):
        return np.asarray(mixer("mixup", classes=4, seed=seed)(one, pixels, np.arange(4), np.ones(4))[0])

    assert np.array_equal(mixed(0, step()), mixed(0, step()))
    assert not np.array_equal(mixed(0, step()), mixed(1, step()))
    assert not np.array_equal(mixed(0, step()), mixed(0, step(epoch=1)))
    assert not np.array_equal(mixed(0, step()), mixed(0, step(indices=(3, 1, 2, 0))))


# --- Sampling


def test_balanced_sampling_draws_every_class_equally_often():
    labels = np.array([0] * 90 + [1] * 9 + [2] * 3)
    drawn = np.concatenate(epoch_order(102, 16, seed=0, epoch=3, labels=labels))
    assert np.bincount(labels[drawn]).tolist() == [34, 34, 34]
    assert len(set(drawn[labels[drawn] == 0])) == 34, "no photo of a large class twice"
    rare = np.bincount(drawn, minlength=102)[99:]
    assert rare.max() - rare.min() <= 1, "and those of a small one equally often"


def test_balanced_steps_go_on_as_they_began():
    labels = np.array([0] * 20 + [1] * 3)
    schedule = Schedule(epochs=2, batch_size=8, learning_rate=1.0, patience=0, sampling="balanced")
    whole = list(steps_from(0, labels, schedule, seed=1, first_epoch=4))
    rest = list(steps_from(4, labels, schedule, seed=1, first_epoch=4))
    assert [one.epoch for one in whole] == [4, 4, 4, 5, 5, 5]
    assert all(np.array_equal(a.indices, b.indices) for a, b in zip(whole[4:], rest, strict=True))


# --- Options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mix": None}, "--mix can't be None. Leave it out for its default, 'none'"),
        ({"batch_size": None}, "--batch-size can't be None. Leave it out for its default, 32"),
        ({"layer_decay": 0}, "--layer-decay must be above 0 and at most 1, not 0"),
        ({"layer_decay": 1.1}, "--layer-decay must be above 0 and at most 1, not 1.1"),
        ({"weight_decay": -1}, "--weight-decay must be at least 0 and at most 1, not -1"),
        ({"label_smoothing": 1.0}, "--label-smoothing must be at least 0 and below 1, not 1.0"),
        ({"ema": "x"}, "--ema must be at least 0 and below 1, not 'x'"),
        ({"max_thaw_drop": 2}, "--max-thaw-drop must be at least 0 and at most 1, not 2"),
        ({"mix": "mixap"}, "--mix takes none, mixup or cutmix, not 'mixap'. Did you mean mixup"),
        ({"batch_norm": "moving"}, "--batch-norm takes frozen or train, not 'moving'"),
        ({"sampling": "even"}, "--sampling takes natural or balanced, not 'even'"),
        ({"sampling": "balanced", "class_weight": "auto"}, "both correct the same imbalance. Use one"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        plan(FinetuneOptions(base="mobilenet_v2", data="x", **values))
