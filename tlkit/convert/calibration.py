"""Photos for calibration: from the training split, evenly over the classes, through the very preprocessing exported."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.data.discover import Photo
from tlkit.data.pipeline import Pixels
from tlkit.preprocess import PreprocessSpec


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration photos.

    Attributes:
        pixels: `[images + 1, S, S, 3]` uint8; the last frame is the first photo with one black and one white pixel, so
            that the input's scale is exactly 1. More than two pixels would reach activations that no photo reaches, and
            so make every step of int8 coarser.
        sha256: Over the photos' hashes, in order.
    """

    pixels: np.ndarray
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Returns what the sidecar says about it."""
        return {"images": len(self.pixels) - 1, "split": "train", "sha256": self.sha256, "extreme_frame": True}


def calibration_set(root: Path, chosen: list[Photo], spec: PreprocessSpec) -> Calibration:
    """Loads the calibration photos and adds the extreme frame.

    Args:
        root: What the photos' paths are relative to.
        chosen: What `choose` returned.
        spec: The preprocessing that is exported.
    """
    pixels = Pixels(root, chosen, spec).load(range(len(chosen)))
    extreme = pixels[:1].copy()
    extreme[:, 0, 0], extreme[:, 0, 1] = 0, 255
    digest = hashlib.sha256("".join(photo.sha256 for photo in chosen).encode()).hexdigest()
    return Calibration(pixels=np.concatenate([pixels, extreme]), sha256=digest)
