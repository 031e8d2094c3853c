"""A Keras model as a TensorFlow Lite flatbuffer.

Files with float activations take uint8 pixels too: the cast is inside, so a client feeds the same bytes to every
precision.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        weights: Type of the weights in the file, in the flatbuffer's words.
        calibrated: Whether it takes calibration photos.
        instead: What to try when it falls short: the next more exact precision.
    """

    convert: Convert
    weights: str
    calibrated: bool = False
    instead: str | None = None


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


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Yields a folder for intermediate files; what TensorFlow says of a full disk becomes the system's error."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory(prefix="tlkit-") as folder:
        try:
            yield folder
        except tf.errors.ResourceExhaustedError as err:
            if os.strerror(errno.ENOSPC) not in str(err):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder) from err


def _float_activations(configure: Callable[[Any], None]) -> Convert:
    """Returns a conversion without calibration; `configure` sets what differs on TensorFlow's converter."""

    def convert(model: keras.Model, calibration: Calibration | None) -> bytes:
        import tensorflow as tf

        with _temporary_folder() as folder:
            savedmodel_from_keras(model, Path(folder) / "model", dtype="uint8", batch=1)
            converter = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/model")
            configure(converter)
            return converter.convert()

    return convert


def _dynamic(converter: Any) -> None:  # noqa: ANN401
    """Dynamic-range PTQ: int8 weights per channel; kernels of under 1,024 numbers stay float."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _float16(converter: Any) -> None:  # noqa: ANN401
    """Weights in half precision; the arithmetic is the runtime's choice."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _int8(model: keras.Model, calibration: Calibration | None) -> bytes:
    """Full-integer PTQ: int8 weights per channel, int8 activations, uint8 input of scale 1 and zero point 0."""
    import tensorflow as tf

    assert calibration is not None

    def representative() -> Iterator[dict[str, np.ndarray]]:
        for pixels in calibration.pixels:
            yield {INPUT: pixels[None].astype(np.float32)}

    with _temporary_folder() as folder:
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
    "float32": Scheme(convert=_float_activations(lambda converter: None), weights="FLOAT32"),
    "float16": Scheme(convert=_float_activations(_float16), weights="FLOAT16", instead="float32"),
    "dynamic": Scheme(convert=_float_activations(_dynamic), weights="INT8", instead="float16"),
    "int8": Scheme(convert=_int8, weights="INT8", calibrated=True, instead="float16"),
}
