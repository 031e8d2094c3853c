"""Which layers lose most when a model is quantized: signal-to-quantization-noise ratio, tensor by tensor."""

import re

import numpy as np

from tlkit.convert.tflite_runtime import TfliteModel, dequantize


def worst_layers(
    float_file: bytes, quantized_file: bytes, pixels: np.ndarray, most: int = 3
) -> list[tuple[str, float]]:
    """Compares the outputs of operations that both files name alike.

    Args:
        float_file: The float32 .tflite file.
        quantized_file: The int8 one of the same model.
        pixels: `[images, S, S, 3]` uint8; a few are enough.
        most: How many layers to return.

    Returns:
        Names of layers with their ratio in dB, worst first.
    """
    clean, noisy = (TfliteModel(file, keep_all=True) for file in (float_file, quantized_file))
    pairs = _same_tensors(clean, noisy)
    signal, noise = dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, 0.0)
    for image in pixels:
        clean.predict(image)
        noisy.predict(image)
        for name, (a, b) in pairs.items():
            want = clean.interpreter.get_tensor(a["index"])
            got = dequantize(noisy.interpreter.get_tensor(b["index"]), b)
            signal[name] += float(np.sum(want.astype(np.float64) ** 2))
            noise[name] += float(np.sum((want.astype(np.float64) - got) ** 2))
    ratios: dict[str, float] = {}
    for name in pairs:
        if signal[name]:
            ratio = 10 * np.log10(signal[name] / max(noise[name], 1e-30))
            layer = layer_of(name)
            ratios[layer] = min(ratios.get(layer, np.inf), float(ratio))
    return sorted(ratios.items(), key=lambda item: item[1])[:most]


def _same_tensors(clean: TfliteModel, noisy: TfliteModel) -> dict[str, tuple[dict, dict]]:
    """Pairs the activations of the two files by name and shape."""
    wanted = {d["name"]: d for d in clean.interpreter.get_tensor_details() if d["dtype"] == np.float32}
    pairs = {}
    for details in noisy.interpreter.get_tensor_details():
        other = wanted.get(details["name"])
        same = other is not None and tuple(other["shape"]) == tuple(details["shape"])
        one_scale = len(details["quantization_parameters"]["scales"]) == 1  # a kernel has one for each channel
        if same and one_scale and details["dtype"] == np.int8 and details["shape"][:1].tolist() == [1]:
            pairs[details["name"]] = (other, details)
    return pairs  # type: ignore[return-value]


def layer_of(tensor: str) -> str:
    """Returns the layer's name inside a tensor's: `stage5_block1_project` of `m/stage5_block1_project_1/conv;...`."""
    match = re.search(r"((?:stem|stage\d+|head)_[a-z0-9_]*?)(?:_\d+)?/", tensor)
    return match.group(1) if match else tensor
