"""Which layers lose most when a model is quantized: signal-to-quantization-noise ratio, tensor by tensor."""

import re

import numpy as np

from tlkit.convert.tflite_file import operations
from tlkit.convert.tflite_runtime import TfliteModel, dequantize

_OUTPUT = "StatefulPartitionedCall"  # what the converter calls it


def worst_layers(
    float_file: bytes, quantized_file: bytes, pixels: np.ndarray, most: int = 3
) -> list[tuple[str, float]]:
    """Compares the outputs of operations that both files name alike.

    Args:
        float_file: The float32 .tflite file.
        quantized_file: One of the same model in another precision.
        pixels: `[images, S, S, 3]` uint8; a few are enough.
        most: How many layers to return.

    Returns:
        Names of layers with their ratio in dB, worst first; minus infinity where a value is no number.
    """
    clean, noisy = (TfliteModel(file, keep_all=True) for file in (float_file, quantized_file))
    ours, theirs = _activations(clean, float_file), _activations(noisy, quantized_file)
    pairs = {key: (ours[key], theirs[key]) for key in ours if key in theirs}
    signal, noise = dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, 0.0)
    for image in pixels:
        clean.predict(image)
        noisy.predict(image)
        for key, (a, b) in pairs.items():
            want = clean.interpreter.get_tensor(a["index"]).astype(np.float64)
            got = dequantize(noisy.interpreter.get_tensor(b["index"]), b).astype(np.float64)
            signal[key] += float(np.sum(want**2))
            noise[key] += float(np.sum(np.square(want - got))) if np.isfinite(got).all() else np.inf
    ratios: dict[str, float] = {}
    for key in pairs:
        if signal[key]:
            ratio = -np.inf if np.isinf(noise[key]) else 10 * np.log10(signal[key] / max(noise[key], 1e-30))
            layer = layer_of(key[0])
            ratios[layer] = min(ratios.get(layer, np.inf), float(ratio))
    return sorted(ratios.items(), key=lambda item: item[1])[:most]


def _activations(model: TfliteModel, content: bytes) -> dict[tuple[str, tuple[int, ...]], dict]:
    """Returns what a file computes, in order, by name and shape.

    The number that the converter appends to a name differs from file to file. Weights that are unpacked to float and
    the output, which is no layer's, are not counted.
    """
    details = {d["name"]: d for d in model.interpreter.get_tensor_details() if d["dtype"] in (np.int8, np.float32)}
    found: dict[tuple[str, tuple[int, ...]], dict] = {}
    for operation in operations(content):
        one = details.get(operation.output)
        if one is not None and operation.name != "DEQUANTIZE" and not operation.output.startswith(_OUTPUT):
            found[re.sub(r"\d+$", "", operation.output), tuple(one["shape"].tolist())] = one
    return found


def layer_of(tensor: str) -> str:
    """Returns the layer's name inside a tensor's: `stage5_block1_project` of `m/stage5_block1_project_1/conv;...`."""
    match = re.search(r"((?:stem|stage\d+|head)_[a-z0-9_]*?)(?:_\d+)?/", tensor)
    return match.group(1) if match else tensor
