"""A hidden layer in the head, for every base."""

import numpy as np
import pytest

from tlkit.errors import OptionError
from tlkit.models import registry
from tlkit.models.weights import load_weights


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v2", "resnet18"])
def test_the_hidden_layer_lies_between_pooling_and_dropout(name):
    plain, wide = (
        registry.build(name, classes=3, input_size=64, head="gap", dropout=0.4, head_width=n) for n in (0, 16)
    )
    names = [layer.name for layer in wide.layers]
    at = names.index("head_pool")
    assert names[at:] == ["head_pool", "head_hidden", "head_dropout", "head_logits"]
    assert names[:at] == [layer.name for layer in plain.layers][:at]
    channels = plain.get_layer("head_logits").kernel.shape[0]
    assert wide.count_params() - plain.count_params() == channels * 16 + 16 + 16 * 3 - channels * 3
    assert wide.get_layer("head_dropout").rate == 0.4
    assert wide.name == plain.name
    assert wide(np.zeros((2, 64, 64, 3), np.float32)).shape == (2, 3)


def test_auxiliary_classifiers_stay():
    model = registry.build("googlenet", classes=3, input_size=96, head="gap", auxiliaries=True, head_width=8)
    assert len(model.outputs) == 3
    assert all(output.shape == (None, 3) for output in model.outputs)


def test_weights_of_a_wide_head_are_loaded_into_another(tmp_path):
    first, second = (registry.build("lenet5", classes=3, input_size=32, head="gap", head_width=8) for _ in range(2))
    first.save_weights(tmp_path / "a.weights.h5")
    load_weights(second, registry.find("lenet5"), tmp_path / "a.weights.h5")
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(a, b)
    narrow = registry.build("lenet5", classes=3, input_size=32, head="gap")
    load_weights(narrow, registry.find("lenet5"), tmp_path / "a.weights.h5")  # its backbone


def test_the_papers_head_has_no_hidden_layer_of_ours():
    with pytest.raises(OptionError, match="--head-width 8 is for --head gap: .*Leave --head original out"):
        registry.build("vgg16", head="original", head_width=8)


@pytest.mark.parametrize("width", [-1, 5000, 1.5])
def test_widths_have_a_range(width):
    with pytest.raises(OptionError, match="--head-width must be a whole number from 0 to 4096, not"):
        registry.build("lenet5", head="gap", head_width=width)
