"""Our networks with torchvision's weights give torchvision's logits.

The weights come from a formula (`golden/formula.py`): state dicts take hundreds of megabytes, golden files a few kilobytes.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from tlkit.models import registry
from tlkit.models.weights import load_weights

from .golden import formula
from .torch_files import write_state_dict

GOLDEN = Path(__file__).parent / "golden"
SHAPES = json.loads((GOLDEN / "torchvision.json").read_text())["shapes"]


def check_logits(tmp_path, name, theirs, form):
    state = formula.state_dict(SHAPES[theirs])
    path = tmp_path / form
    if form.endswith(".safetensors"):
        save_file(state, path)
    else:
        write_state_dict(path, state, legacy="legacy" in form)
    del state
    ours = registry.build(name, input_size=formula.SIZE)
    assert load_weights(ours, registry.find(name), path).head
    path.unlink()
    with np.load(GOLDEN / "logits.npz") as file:
        expected = file[theirs]
    logits = keras.ops.convert_to_numpy(ours(formula.images(), training=False))[:, ::10]
    assert np.abs(logits - expected).max() < 1e-3
    assert np.abs(expected[0] - expected[1]).mean() > 0.1


@pytest.mark.parametrize(("name", "theirs", "form"), [("googlenet_bn", "googlenet", "legacy.pth")])
def test_logits_are_torchvisions(tmp_path, name, theirs, form):
    check_logits(tmp_path, name, theirs, form)
