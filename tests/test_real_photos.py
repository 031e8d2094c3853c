"""The main job on real photos with real ImageNet weights."""

import pytest

import tlkit
from tlkit.transfer.features import cut

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def hands(shared, weights_v2, tmp_path_factory):
    """MobileNetV2 on photos of hands, head only, 10 epochs."""
    return tlkit.finetune(
        shared / "data" / "sign_digits",
        base="mobilenet_v2",
        weights=weights_v2,
        input_size=96,
        epochs=10,
        freeze="all-but-head",
        runs=tmp_path_factory.mktemp("hands"),
    )


def test_a_head_on_frozen_features_reads_hands(hands):
    manifest = hands.manifest
    assert manifest["metrics"]["test"]["images"] == 411  # one of 412 is a copy
    assert manifest["metrics"]["test"]["accuracy"] >= 0.90


def test_its_artifacts_keep_the_accuracy(hands):
    exact = hands.export("tflite", "float32")
    assert exact["parity"]["max_probability_difference"] < 1e-4
    int8 = hands.export("tflite", "int8")
    assert int8["parity"]["top1_agreement"] >= 0.97
    assert int8["bytes"] <= 0.31 * exact["bytes"]
    assert int8["float_ops"] == []


def test_the_frozen_backbone_is_the_published_one(hands, weights_v2):
    import numpy as np

    published = tlkit.build("mobilenet_v2", input_size=96, weights=weights_v2)
    for layer in cut(published, hands.manifest["stages"]).backbone.layers:
        trained = hands.model.get_layer(layer.name).get_weights()
        assert all(map(np.array_equal, layer.get_weights(), trained)), layer.name


def test_ants_and_bees_are_told_apart(shared, weights_v2, tmp_path):
    found = tlkit.finetune(
        shared / "data" / "ants_bees", base="mobilenet_v2", weights=weights_v2, epochs=10, runs=tmp_path / "runs"
    )
    assert found.manifest["metrics"]["test"]["accuracy"] >= 0.92
