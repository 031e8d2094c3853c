"""Runs .tflite files in LiteRT, the runtime of devices. Imports no TensorFlow."""

import os
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

NAME = "ai-edge-litert"


def runtime() -> dict[str, str]:
    """Returns name and version of the runtime, as manifests record it."""
    return {"name": NAME, "version": version(NAME)}


class TfliteModel:
    """A .tflite file in LiteRT, for one image at a time.

    Args:
        source: The file, or its bytes.
        keep_all: Keeps the value of every tensor after a run, which also turns the delegate off.
    """

    def __init__(self, source: Path | bytes, *, keep_all: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter

        given: dict[str, Any] = {"model_content": source} if isinstance(source, bytes) else {"model_path": str(source)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it announces the end of an older interface on every use
            self.interpreter = Interpreter(
                **given, num_threads=os.cpu_count(), experimental_preserve_all_tensors=keep_all
            )
        self.interpreter.allocate_tensors()
        (self.input,) = self.interpreter.get_input_details()
        (self.output,) = self.interpreter.get_output_details()

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Returns `[classes]` float32 probabilities of `[S, S, 3]` uint8 pixels."""
        self.interpreter.set_tensor(self.input["index"], pixels[None])
        self.interpreter.invoke()
        return dequantize(self.interpreter.get_tensor(self.output["index"])[0], self.output)

    def predict_all(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the probabilities of each image."""
        return (self.predict(pixels) for pixels in images)

    def describe(self) -> dict[str, Any]:
        """Returns `input` and `output` as the manifest records them."""
        parts = {"input": self.input, "output": self.output}
        found: dict[str, Any] = {}
        for name, details in parts.items():
            scale, zero_point = details["quantization"]
            quantized = {"scale": float(scale), "zero_point": int(zero_point)} if scale else {}
            found[name] = {
                "dtype": np.dtype(details["dtype"]).name,
                "shape": [int(n) for n in details["shape"]],
                "scale": None,
                "zero_point": None,
                **quantized,
            }
        found["input"] |= {"name": "image", "layout": "NHWC"}
        found["output"]["name"] = "probabilities"
        return found


def dequantize(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Returns float32 values of a tensor, by the scales and zero points in its details."""
    parameters = details["quantization_parameters"]
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    if not len(scales):
        return values.astype(np.float32)
    if len(scales) > 1:  # per channel
        shape = [1] * values.ndim
        shape[parameters["quantized_dimension"]] = len(scales)
        scales, zero_points = scales.reshape(shape), zero_points.reshape(shape)
    return ((values.astype(np.int64) - zero_points) * scales).astype(np.float32)
