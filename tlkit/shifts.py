"""Changes that photos undergo in the field, other light and another angle, in known strengths.

They are applied to a decoded photo as the model sees it, `[S, S, 3]`, so that a strength means the same whatever the
camera's resolution. The same photo is always changed in the same way: chance is seeded with its hash.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from tlkit.errors import OptionError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One kind of change.

    Attributes:
        unit: What a strength counts.
        strengths: In that unit, ascending or descending.
        apply: From `[S, S, 3]` uint8, a strength and a source of chance to `[S, S, 3]` uint8.
    """

    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _brightness(pixels: np.ndarray, strength: float, chance: np.random.Generator) -> np.ndarray:
    return _grey_levels(pixels * strength)


def _blur(pixels: np.ndarray, strength: float, chance: np.random.Generator) -> np.ndarray:
    radius = strength / 100 * len(pixels)
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _rotation(pixels: np.ndarray, strength: float, chance: np.random.Generator) -> np.ndarray:
    """Turns either way. What comes in at the corners is mirrored: black ones would be a change of their own."""
    size = len(pixels)
    margin = (size + 1) // 4  # the corners of a turned square reach 0.21 of its side beyond it
    wide = Image.fromarray(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric"))
    turned = wide.rotate(strength * chance.choice((-1, 1)), Image.Resampling.BILINEAR)
    return np.asarray(turned.crop((margin, margin, margin + size, margin + size)))


def _noise(pixels: np.ndarray, strength: float, chance: np.random.Generator) -> np.ndarray:
    return _grey_levels(pixels + chance.normal(0, strength, pixels.shape))


def _jpeg(pixels: np.ndarray, strength: float, chance: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(strength))
    return np.asarray(Image.open(file).convert("RGB"))


def _grey_levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


SHIFTS = {
    "brightness": Shift(unit="times the light", strengths=(0.25, 0.5, 0.75, 1.5, 2.0), apply=_brightness),
    "blur": Shift(unit="% of the side", strengths=(0.5, 1.0, 2.0), apply=_blur),
    "rotation": Shift(unit="degrees", strengths=(5.0, 15.0, 30.0), apply=_rotation),
    "noise": Shift(unit="grey levels", strengths=(10.0, 25.0, 50.0), apply=_noise),
    "jpeg": Shift(unit="in quality", strengths=(50.0, 25.0, 10.0), apply=_jpeg),
}


def shift_names(given: str | Sequence[str]) -> list[str]:
    """Returns names of `SHIFTS`, each once, from a list or from `brightness,blur`.

    Raises:
        OptionError: there is no such shift.
    """
    listed = given.split(",") if isinstance(given, str) else given
    names = list(dict.fromkeys(name.strip() for name in listed if name.strip()))
    if unknown := [name for name in names if name not in SHIFTS]:
        raise OptionError(f"--shift takes {', '.join(SHIFTS)}, not {unknown[0]!r}.{did_you_mean(unknown[0], SHIFTS)}")
    return names


def shifted(pixels: np.ndarray, sha256: str, name: str, strength: float) -> np.ndarray:
    """Returns a photo after a change.

    Args:
        pixels: `[S, S, 3]` uint8.
        sha256: Of the photo's file: the seed.
        name: One of `SHIFTS`.
        strength: In the unit of that.
    """
    return SHIFTS[name].apply(pixels, strength, np.random.default_rng(int(sha256[:16], 16)))
