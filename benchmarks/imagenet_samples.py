"""Our MobileNetV2 with ImageNet weights on real photos, beside keras.applications with the same weights.

    python benchmarks/imagenet_samples.py SHARED

Prints top-1 and top-5 on data/imagenet_samples (the central 0.875 of each side, stretched) and the largest difference of logits.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    shared = parser.parse_args().shared
    weights = shared / "weights" / "mobilenet_v2_1.0_224_imagenet.weights.h5"
    names = json.loads((shared / "data" / "imagenet_samples.json").read_text())
    spec = PreprocessSpec(input_size=224, crop_fraction=0.875)
    labels = np.array([int(index) for index in names])
    pixels = np.stack([spec.load(shared / "data" / "imagenet_samples" / f"{name}.jpg") for name in names.values()])

    ours = tlkit.build("mobilenet_v2", weights=weights)
    theirs = keras.applications.MobileNetV2(weights=str(weights), classifier_activation=None)
    logits = ours.predict(pixels.astype(np.float32), batch_size=50, verbose=0)
    reference = theirs.predict(pixels / np.float32(127.5) - 1, batch_size=50, verbose=0)
    ranked = np.argsort(-logits, axis=1)
    print(f"photos              {len(labels)}")
    print(f"top-1               {np.mean(ranked[:, 0] == labels):.4f}")
    print(f"top-5               {np.mean((ranked[:, :5] == labels[:, None]).any(axis=1)):.4f}")
    print(f"logits, difference  {np.abs(logits - reference).max():.2e} (logits reach {np.abs(reference).max():.1f})")


if __name__ == "__main__":
    main()
