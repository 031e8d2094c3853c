"""Our MobileNetV2 with ImageNet weights on real photos, beside keras.applications with the same weights and pixels.

    python benchmarks/imagenet_samples.py SHARED

Prints top-1 and top-5 on data/imagenet_samples for several input sizes and crops, and the largest difference of logits.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import tlkit  # noqa: E402
from tlkit.preprocess import PreprocessSpec  # noqa: E402

SPECS = (
    PreprocessSpec(input_size=224, resize="crop", crop_fraction=0.875),
    PreprocessSpec(input_size=224, resize="crop"),
    PreprocessSpec(input_size=224),
    PreprocessSpec(input_size=256, resize="crop"),
)


def logits_of(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([model.predict_on_batch(pixels[i : i + 50]) for i in range(0, len(pixels), 50)])


def rates(logits: np.ndarray, labels: np.ndarray) -> str:
    ranked = np.argsort(-logits, axis=1)
    top1, top5 = ranked[:, 0] == labels, (ranked[:, :5] == labels[:, None]).any(axis=1)
    return f"{top1.mean():.4f} / {top5.mean():.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    shared = parser.parse_args().shared
    weights = shared / "weights" / "mobilenet_v2_1.0_224_imagenet.weights.h5"
    names = json.loads((shared / "data" / "imagenet_samples.json").read_text())
    files = [shared / "data" / "imagenet_samples" / f"{name}.jpg" for name in names.values()]
    labels = np.array([int(index) for index in names])
    print("input  resize   fraction  tlkit top-1 / top-5  keras.applications  largest difference of logits")
    for spec in SPECS:
        size = spec.input_size
        pixels = np.stack([spec.load(file) for file in files]).astype(np.float32)
        ours = logits_of(tlkit.build("mobilenet_v2", input_size=size, weights=weights), pixels)
        theirs = keras.applications.MobileNetV2(
            weights=str(weights), input_shape=(size, size, 3), classifier_activation=None
        )
        reference = logits_of(theirs, pixels / np.float32(127.5) - 1)
        print(
            f"{size:<6} {spec.resize:<8} {spec.crop_fraction:<9} {rates(ours, labels):<20} "
            f"{rates(reference, labels):<19} {np.abs(ours - reference).max():.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
