"""Local response normalization: against TensorFlow's own, saved and loaded, and in exported files."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.convert import tflite_file
from tlkit.convert.calibration import Calibration
from tlkit.convert.tflite_runtime import TfliteModel
from tlkit.convert.to_tflite import tflite_from_keras
from tlkit.models import blocks
from tlkit.models.lrn import LocalResponseNormalization

from ..conftest import ROOT


@pytest.fixture(scope="module")
def normalizing():
    """A classifier of 4 classes in which normalization matters."""
    image, x = blocks.image_input(24, (1 / 255, 0.0))
    x = keras.layers.Conv2D(12, 5, activation="relu", name="stem_conv")(x)
    x = blocks.local_response_norm(x, name="stem_norm", alpha=1.0)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="stage1_conv")(x)
    x = keras.layers.Softmax(name="probabilities")(blocks.gap_head(x, 4, 0.0))
    return keras.Model(image, x)


def pixels(size=24):
    values = np.random.default_rng(0).integers(0, 256, (8, size, size, 3)).astype(np.uint8)
    values[0, 0, 0], values[0, 0, 1] = 0, 255
    return values


@pytest.mark.parametrize(
    "arguments", [(2, 2.0, 1e-4, 0.75), (5, 1.0, 1e-3, 0.5), (1, 0.5, 1.0, 1.0), (9, 1.0, 0.1, 2.0)]
)
@pytest.mark.parametrize("channels", [3, 16])
def test_it_is_tensorflows(arguments, channels):
    x = np.random.default_rng(1).normal(0, 40, (2, 5, 4, channels)).astype(np.float32)
    expected = tf.nn.local_response_normalization(x, *arguments).numpy()
    found = LocalResponseNormalization(*arguments)(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found - x).max() > 1


def test_its_constants_are_the_papers():
    config = LocalResponseNormalization().get_config()
    assert {k: config[k] for k in ("depth_radius", "bias", "alpha", "beta")} == {
        "depth_radius": 2,  # n = 5
        "bias": 2.0,
        "alpha": 1e-4,
        "beta": 0.75,
    }


@pytest.mark.slow
def test_a_saved_model_loads_in_safe_mode_where_only_the_exporter_is_imported(normalizing, tmp_path):
    normalizing.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", pixels().astype(np.float32))
    np.save(tmp_path / "y.npy", normalizing(pixels().astype(np.float32)).numpy())
    script = """if True:
        import sys, keras, numpy as np
        import tlkit.convert.export
        folder = sys.argv[1]
        model = keras.saving.load_model(folder + "/model.keras", compile=False, safe_mode=True)
        found = model(np.load(folder + "/x.npy")).numpy()
        assert np.abs(found - np.load(folder + "/y.npy")).max() < 1e-6
    """
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-5), ("int8", 0.02)])
def test_it_is_exported(normalizing, tmp_path, precision, most):
    calibration = Calibration(pixels=pixels(), sha256="") if precision == "int8" else None
    content = tflite_from_keras(normalizing, precision=precision, calibration=calibration)
    (tmp_path / "model.tflite").write_bytes(content)
    found = np.array(list(TfliteModel(tmp_path / "model.tflite").predict_all(pixels())))
    assert np.abs(found - normalizing(pixels().astype(np.float32)).numpy()).max() < most
    names = [operation.name for operation in tflite_file.operations(content)]
    assert names.count("CONV_2D") == 2  # none of them is the normalization's
    if precision == "int8":
        tflite_file.check_int8(content)
        assert tflite_file.float_operations(content) == ["DEQUANTIZE", "POW"]
