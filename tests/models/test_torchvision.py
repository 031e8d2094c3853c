"""Our networks with torchvision's weights give torchvision's logits.

The weights come from a formula (`golden/formula.py`): state dicts take hundreds of megabytes, golden files a few
kilobytes.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from tlkit.errors import WeightsError
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


@pytest.mark.parametrize(
    ("name", "theirs", "form"),
    [
        ("resnet18", "resnet18", "zip.pth"),
        ("googlenet_bn", "googlenet", "legacy.pth"),
        pytest.param("resnet34", "resnet34", "a.safetensors", marks=pytest.mark.slow),
        pytest.param("resnet50_v1.5", "resnet50", "legacy.pth", marks=pytest.mark.slow),
        pytest.param("alexnet_owt", "alexnet", "legacy.pth", marks=pytest.mark.slow),
        pytest.param("vgg11", "vgg11", "zip.pth", marks=pytest.mark.slow),
        pytest.param("vgg13", "vgg13", "a.safetensors", marks=pytest.mark.slow),
    ],
)
def test_logits_are_torchvisions(tmp_path, name, theirs, form):
    check_logits(tmp_path, name, theirs, form)


def written(tmp_path, theirs, *, without=()):
    """A state dict of torchvision's, in which every tensor is small numbers."""
    state = {
        name: np.zeros(shape, np.float32) for name, shape in SHAPES[theirs].items() if not name.startswith(without)
    }
    write_state_dict(tmp_path / f"{theirs}.pth", state)
    return tmp_path / f"{theirs}.pth"


@pytest.mark.parametrize(
    ("name", "theirs", "message"),
    [
        ("resnet50", "resnet50", "not for resnet50: it has the weights of torchvision, .*Use --base resnet50_v1.5."),
        ("googlenet", "googlenet", "not for googlenet: it has the weights of torchvision, .*Use --base googlenet_bn."),
        ("resnet18", "resnet34", "not for resnet18 but for ResNet-34"),
        ("resnet34", "resnet18", "not for resnet34 but for ResNet-18"),
        ("resnet50", "resnet34", "not for resnet50 but for ResNet-34"),
        ("plain18", "resnet18", "not for plain18: it has the weights of torchvision, whose network differs"),
        ("mobilenet_v2", "resnet18", "layout of PyTorch; of the mobilenet_v2 family only Keras' files are read"),
        ("googlenet_bn", "resnet18", "not for googlenet_bn: it has "),
    ],
)
def test_weights_of_another_network_are_refused_and_named(tmp_path, name, theirs, message):
    ours = registry.build(name, classes=3, head="gap", input_size=64)
    before = ours.get_weights()
    with pytest.raises(WeightsError, match=message):
        load_weights(ours, registry.find(name), written(tmp_path, theirs))
    assert all(map(np.array_equal, before, ours.get_weights()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "theirs", "message"),
    [
        ("vgg11", "vgg13", "not for vgg11 but for VGG-13"),
        ("vgg16", "vgg13", "not for vgg16 but for VGG-13"),
        ("vgg11_lrn", "vgg11", "not for vgg11_lrn: it has the weights of torchvision, .*Use --base vgg11."),
        ("alexnet", "alexnet", "not for alexnet: it has the weights of torchvision, .*Use --base alexnet_owt."),
    ],
)
def test_large_weights_of_another_network_are_refused_and_named(tmp_path, name, theirs, message):
    ours = registry.build(name, classes=3, head="gap", input_size=96)
    with pytest.raises(WeightsError, match=message):
        load_weights(ours, registry.find(name), written(tmp_path, theirs, without="classifier"))


def test_keras_weights_of_another_network_are_refused_and_named(tmp_path):
    theirs = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours = registry.build("resnet50_v1.5", classes=3, head="gap", input_size=64)
    message = "not for resnet50_v1.5: it has the weights of keras.applications, .*Use --base resnet50."
    with pytest.raises(WeightsError, match=message):
        load_weights(ours, registry.find("resnet50_v1.5"), tmp_path / "a.weights.h5")


def test_auxiliary_classifiers_stay_as_they_are(tmp_path):
    """torchvision publishes them untrained."""
    ours = registry.build("googlenet_bn", classes=1000, auxiliaries=True)
    before = ours.get_layer("aux1_fc").get_weights()[0]
    save_file(formula.state_dict(SHAPES["googlenet"]), tmp_path / "a.safetensors")
    assert load_weights(ours, registry.find("googlenet_bn"), tmp_path / "a.safetensors").head
    assert np.array_equal(ours.get_layer("aux1_fc").get_weights()[0], before)
    with np.load(GOLDEN / "logits.npz") as file:
        expected = file["googlenet"]
    logits = keras.ops.convert_to_numpy(ours(formula.images(), training=False)[0])[:, ::10]
    assert np.abs(logits - expected).max() < 1e-3
