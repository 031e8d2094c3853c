"""A Keras model as a TensorFlow Lite flatbuffer.

float32 files take uint8 pixels too: the cast is inside, so a client feeds the same bytes to every precision.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkit.convert.calibration import Calibration
from tlkit.convert.to_savedmodel import INPUT, savedmodel_from_keras
from tlkit.errors import OptionError, TlkitError

Convert = Callable[[keras.Model, Calibration | None], bytes]


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a precision is made.

    Attributes:
        convert: From a model, and calibration photos where they are needed, to the file's bytes.
        calibrated: Whether it takes calibration photos.
    """

    convert: Convert
    calibrated: bool


def tflite_from_keras(model: keras.Model, *, precision: str, calibration: Calibration | None = None) -> bytes:
    """Converts a model.

    Args:
        model: From `[N, S, S, 3]` RGB in [0, 255] to `[N, classes]` probabilities.
        precision: A key of `SCHEMES`.
        calibration: For precisions that need it.

    Returns:
        A .tflite file: `image` `[1, S, S, 3]` uint8 to `probabilities` `[1, classes]`.

    Raises:
        OptionError: calibration photos are missing.
    """
    scheme = SCHEMES[precision]
    if scheme.calibrated and calibration is None:
        raise OptionError(f"{precision} needs calibration photos.")
    return scheme.convert(model, calibration)


def _float32(model: keras.Model, calibration: Calibration | None) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory(prefix="tlkit-") as folder:
        savedmodel_from_keras(model, Path(folder) / "model", dtype="uint8", batch=1)
        return tf.lite.TFLiteConverter.from_saved_model(f"{folder}/model").convert()


def _int8(model: keras.Model, calibration: Calibration | None) -> bytes:
    """Full-integer PTQ: int8 weights per channel, int8 activations, uint8 input of scale 1 and zero point 0."""
    import tensorflow as tf

    assert calibration is not None

    def representative() -> Iterator[dict[str, np.ndarray]]:
        for pixels in calibration.pixels:
            yield {INPUT: pixels[None].astype(np.float32)}

    with tempfile.TemporaryDirectory(prefix="tlkit-") as folder:
        savedmodel_from_keras(model, Path(folder) / "model", dtype="float32", batch=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/model")
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
        return converter.convert()


def check_raw_input(described: dict) -> None:
    """Checks that an artifact takes raw pixels: uint8 with scale 1 and zero point 0, or unquantized uint8.

    Args:
        described: The `input` of `TfliteModel.describe`.

    Raises:
        TlkitError: raw pixels would be misread.
    """
    scale, zero_point = described["scale"], described["zero_point"]
    if described["dtype"] != "uint8" or scale not in (None, 1.0) or zero_point not in (None, 0):
        raise TlkitError(
            f"The converter gave the input dtype {described['dtype']}, scale {scale} and zero point {zero_point}: raw "
            "pixels would be misread. That file was not kept; please report this."
        )


SCHEMES = {
    "float32": Scheme(convert=_float32, calibrated=False),
    "int8": Scheme(convert=_int8, calibrated=True),
}
