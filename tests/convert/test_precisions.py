"""Each precision is what it says, and every architecture passes proof in it."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.convert.export import export
from tlkit.convert.layer_errors import worst_layers
from tlkit.convert.limits import LIMITS
from tlkit.convert.options import ExportOptions
from tlkit.convert.tflite_file import check_weights, weights_by_type
from tlkit.convert.tflite_runtime import TfliteModel
from tlkit.convert.to_tflite import SCHEMES, tflite_from_keras
from tlkit.errors import ParityError, TlkitError
from tlkit.manifest import read_manifest
from tlkit.models import registry
from tlkit.models.weights import load_weights
from tlkit.progress import Progress
from tlkit.transfer.finetune import finetune
from tlkit.transfer.options import FinetuneOptions

from ..conftest import coloured, settled

FLOATING = ("float16", "dynamic")


class Told(Progress):
    """Remembers the warnings."""

    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def test_every_precision_has_a_scheme_and_a_limit():
    assert list(SCHEMES) == list(LIMITS)
    assert [name for name, scheme in SCHEMES.items() if scheme.calibrated] == ["int8"]


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory, run_folder):
    """A run of each architecture: LeNet-5 on the digits, heads on random backbones for the others."""
    place = tmp_path_factory.mktemp("small")
    for label, name in enumerate(("red", "green", "blue")):
        (place / "photos" / name).mkdir(parents=True)
        for i in range(20):
            coloured(label, i).save(place / "photos" / name / f"{i}.png")
    runs = {"lenet5": Path(shutil.copytree(run_folder, place / "lenet"))}  # others copy that one too
    for base in ("vgg16", "mobilenet_v2"):
        options = FinetuneOptions(
            base=base,
            data=place / "photos",
            weights="none",
            freeze="all-but-head",
            input_size=32,
            epochs=15,
            runs=place / "runs",
            name=base,
        )
        runs[base] = finetune(options)
    return runs


@pytest.mark.parametrize("base", ["lenet5", "vgg16", "mobilenet_v2"])
def test_small_runs_pass_proof_and_are_smaller(small_runs, base):
    exact = export(small_runs[base], ExportOptions())
    for precision, most in (("float16", 0.56), ("dynamic", 0.45)):
        entry = export(small_runs[base], ExportOptions(precision=precision))
        assert entry["bytes"] < most * exact["bytes"], precision
        assert entry["parity"]["top1_agreement"] >= LIMITS[precision].min_agreement
        assert entry["input"] == exact["input"]
        assert (entry["input"]["dtype"], entry["output"]["dtype"]) == ("uint8", "float32")
    assert {a["precision"] for a in read_manifest(small_runs[base])["artifacts"]} >= {"float32", "float16", "dynamic"}


@pytest.fixture(scope="module")
def files():
    """MobileNetV2 with 4 classes at 32 pixels in every precision that takes no calibration."""
    keras.utils.set_random_seed(0)
    model = settled(registry.build("mobilenet_v2", classes=4, input_size=32, head="gap"))
    whole = keras.Model(model.input, keras.layers.Softmax()(model.output))
    return {precision: tflite_from_keras(whole, precision=precision) for precision in ("float32", *FLOATING)}


def test_float16_holds_half_precision_weights(files):
    found = weights_by_type(files["float16"])
    assert found["FLOAT16"] > 0.999 * sum(found.values())
    assert "INT8" not in found


def test_dynamic_holds_int8_weights_and_float_activations(files):
    found = weights_by_type(files["dynamic"])
    assert found["INT8"] > 0.97 * sum(found.values())
    kinds = {details["dtype"] for details in TfliteModel(files["dynamic"]).interpreter.get_output_details()}
    assert kinds == {np.float32}


def test_a_file_whose_weights_are_of_another_type_is_refused(files):
    for precision in FLOATING:
        check_weights(files[precision], SCHEMES[precision].weights)
        with pytest.raises(TlkitError, match=f"was asked for {SCHEMES[precision].weights} weights and wrote .*FLOAT32"):
            check_weights(files["float32"], SCHEMES[precision].weights)


def spoil(run):
    """Hides the weights of `head_fc1` under +800 and -800, which cancel, since every other channel is a copy.

    float32 still tells them; float16 steps by 0.5 there, int8 by 6.
    """
    model = keras.saving.load_model(run / "model.keras", compile=False)
    conv, dense = model.get_layer("stage2_conv"), model.get_layer("head_fc1")
    conv.set_weights([np.repeat(weight[..., ::2], 2, axis=-1) for weight in conv.get_weights()])
    kernel, bias = dense.get_weights()
    kernel[::2] += 800
    kernel[1::2] -= 800
    dense.set_weights([kernel, bias])
    model.save(run / "model.keras")


@pytest.mark.parametrize(("precision", "instead"), [("float16", "float32"), ("dynamic", "float16")])
def test_a_spoiled_layer_is_named_and_nothing_is_left(run, precision, instead):
    export(run, ExportOptions())
    spoil(run)
    message = rf"model.{precision}.tflite was not made.* lose most: .*head_fc1 \(SQNR .*Try --precision {instead}"
    with pytest.raises(ParityError, match=message) as caught:
        export(run, ExportOptions(precision=precision))
    assert "--calibration" not in str(caught.value)
    names = sorted(path.name for path in (run / "artifacts").iterdir())
    assert names == ["model.float32.tflite", "model.float32.tflite.json"]
    assert [entry["precision"] for entry in read_manifest(run)["artifacts"]] == ["float32"]


def test_weights_do_not_count_as_layers_that_lose(files):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    for precision in FLOATING:
        found = worst_layers(files["float32"], files[precision], pixels, most=1000)
        assert len(found) > 30
        assert all(ratio > 3 for _, ratio in found), precision


@pytest.mark.parametrize("precision", ["float32", *FLOATING])
def test_calibration_that_is_not_used_is_said(run, precision):
    told = Told()
    entry = export(run, ExportOptions(precision=precision, calibration=30), told)
    assert entry["calibration"] is None
    assert f"--calibration is ignored: {precision} takes no calibration photos." in told.warnings
    told = Told()
    export(run, ExportOptions(precision=precision), told)
    assert not any("--calibration" in line for line in told.warnings)


@pytest.mark.real_data
@pytest.mark.slow
def test_sizes_of_mobilenet_v2_with_real_weights(weights_v2):
    keras.utils.set_random_seed(0)
    model = registry.build("mobilenet_v2", classes=10, input_size=224, head="gap")
    load_weights(model, registry.find("mobilenet_v2"), weights_v2)
    whole = keras.Model(model.input, keras.layers.Softmax()(model.output))
    sizes = {precision: len(tflite_from_keras(whole, precision=precision)) for precision in ("float32", *FLOATING)}
    ratios = {precision: size / sizes["float32"] for precision, size in sizes.items()}
    assert sizes["float32"] == pytest.approx(8.92e6, rel=0.01)
    assert ratios["float16"] == pytest.approx(0.506, abs=0.01)
    assert ratios["dynamic"] == pytest.approx(0.283, abs=0.01)
