"""Strategies are pure functions; what is frozen does not move."""

import keras
import numpy as np
import pytest

from tlkit.errors import OptionError, UnknownNameError
from tlkit.models import registry
from tlkit.transfer.freeze import frozen_stages, parse_freeze
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.training import Recipe, compile_for_training

SCHEDULE = Schedule(epochs=1, batch_size=8, learning_rate=0.01, patience=0)
STAGES = ("stem", "stage1", "stage2", "stage3")


@pytest.mark.parametrize(
    ("text", "frozen"),
    [
        ("all-but-head", STAGES),
        ("none", ()),
        ("up-to:stem", ("stem",)),
        ("up-to:stage2", ("stem", "stage1", "stage2")),
        ("last:1", ("stem", "stage1", "stage2")),
        ("last:4", ()),
    ],
)
def test_a_strategy_freezes_a_prefix_of_the_stages(text, frozen):
    assert frozen_stages(parse_freeze(text, STAGES), STAGES) == frozen


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "all",
            OptionError,
            "--freeze takes all-but-head, .* head-then:STRATEGY or auto, not 'all'",
        ),
        ("all_but_head", OptionError, "Did you mean all-but-head"),
        ("up-to:stage9", UnknownNameError, "no stage 'stage9' to freeze up to. Did you mean .*Stages, from input"),
        ("last:0", OptionError, "--freeze last:N takes a number from 1 to 4 here, not '0'"),
        ("last:x", OptionError, "not 'x'"),
        ("last:5", OptionError, "from 1 to 4"),
    ],
)
def test_what_is_no_strategy_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        parse_freeze(text, STAGES)


@pytest.mark.parametrize("text", ["all-but-head", "up-to:stage3", "last:1"])
def test_a_frozen_stage_does_not_move_in_training(text):
    """Batch-norm statistics included; what is not frozen does move."""
    keras.utils.set_random_seed(0)
    architecture = registry.find("mobilenet_v2")
    model = registry.build("mobilenet_v2", classes=3, input_size=32, head="gap")
    frozen = frozen_stages(parse_freeze(text, architecture.stages), architecture.stages)
    compiled = compile_for_training(model, SCHEDULE, steps=4, frozen=frozen)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    random = np.random.default_rng(0)
    for _ in range(4):
        pixels = random.uniform(0, 255, (8, 32, 32, 3)).astype(np.float32)
        compiled.train_on_batch(pixels, random.integers(0, 3, 8), np.ones(8, np.float32))
    for layer in model.layers:
        moved = any(not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
        if layer.weights:
            assert moved == (layer.name.partition("_")[0] not in frozen), layer.name


def test_frozen_batch_norms_of_trained_stages_keep_their_statistics():
    model = registry.build("mobilenet_v2", classes=3, input_size=32, head="gap")
    compile_for_training(model, SCHEDULE, steps=4, frozen=("stem",), recipe=Recipe(batch_norm="frozen"))
    norm, conv = model.get_layer("stage5_conv_bn"), model.get_layer("stage5_conv")
    assert (norm.trainable, conv.trainable) == (False, True)
    x = np.random.default_rng(0).normal(5, 3, (4, 1, 1, 1280)).astype(np.float32)
    assert np.array_equal(norm(x, training=True), norm(x, training=False))
