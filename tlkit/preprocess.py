"""Contract 2: one preprocessing, from the bytes of a file to the pixels that every model and artifact takes.

What happens here happens nowhere else, and everything that happens before the model happens here: training,
verification, calibration and devices all decode with `PreprocessSpec.load`. The only other step, normalization, is
inside the model.
"""

import io
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, JpegImagePlugin, WebPImagePlugin

from tlkit.errors import ImageError, RunError

# The formats that are read, in Pillow's names. What many phones write into .jpg files, MPO, opens as JPEG.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", WebPImagePlugin.WebPImageFile.format)  # Pillow loads that plugin late
# A photo beyond these is not decoded at all: a few kilobytes can unpack to many gigabytes.
MAX_PIXELS = 178_956_970  # where Pillow itself refuses; half a gigabyte as RGB
MAX_BYTES = 512 * 2**20
MAX_INPUT_SIZE = 2048  # of a model; larger ones need more memory than machines have


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec:
    """Everything that happens to a photo before the model sees it, as one value.

    Attributes:
        input_size: Side of the square result, in pixels.
        resize: `stretch` (the photo's aspect ratio is given up) or `crop` (its central square).
        crop_fraction: How much of each side is kept, centred, in whole pixels, before the resize.
        interpolation: Always `bilinear`.
        antialias: Always true: the filter widens when it shrinks. Without it accuracy falls (docs/preprocessing.md).
        decode: `full`: every pixel is decoded before the resize; or `scaled`: JPEG photos much larger than `input_size`
            are rebuilt at a half, a quarter or an eighth, several times faster (see `scale`).
        orientation: Always `exif`: a rotated photo is turned upright.
        alpha: Always `white`: what transparent pixels are laid over.
        depth16: Always `high-byte`: how 16 bits become 8.
        color: Always `rgb`: grey photos become three equal channels.
        dtype: Always `uint8`: rounding happens here, once, after the resize.
        version: Of this definition; another number means other pixels.
    """

    input_size: int
    resize: Literal["stretch", "crop"] = "stretch"
    crop_fraction: float = 1.0
    interpolation: Literal["bilinear"] = "bilinear"
    antialias: Literal[True] = True
    decode: Literal["full", "scaled"] = "full"
    orientation: Literal["exif"] = "exif"
    alpha: Literal["white"] = "white"
    depth16: Literal["high-byte"] = "high-byte"
    color: Literal["rgb"] = "rgb"
    dtype: Literal["uint8"] = "uint8"
    version: int = 1

    def load(self, source: str | Path | bytes) -> np.ndarray:
        """Reads an image file, or its bytes, into `[input_size, input_size, 3]` uint8 RGB.

        Raises:
            ImageError: the file is missing, corrupt, too large or no image; the message is the reason.
        """
        content = source if isinstance(source, bytes) else read_file(source)
        with _damage_reported():
            image = _open(content)
            scale = self.scale(*image.size) if isinstance(image, JpegImagePlugin.JpegImageFile) else 1
            return self.apply(_upright(image)) if scale == 1 else self._load_scaled(image, scale)

    def _load_scaled(self, image: Image.Image, scale: int) -> np.ndarray:
        """Decodes at a fraction of the size. The box is cut and the photo turned as if every pixel were there."""
        left, top, right, bottom = (side / scale for side in self.box(*image.size))
        image.draft(None, (image.width // scale, image.height // scale))
        image.load()
        outer = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
        inner = (left - outer[0], top - outer[1], right - outer[0], bottom - outer[1])
        size = (self.input_size, self.input_size)
        resized = _to_rgb(image).crop(outer).resize(size, Image.Resampling.BILINEAR, box=inner)
        turn = turn_of(image)
        return np.asarray(resized if turn is None else resized.transpose(turn))

    def apply(self, image: Image.Image) -> np.ndarray:
        """Turns a decoded, upright Pillow image of any mode into `[input_size, input_size, 3]` uint8 RGB."""
        image, box = _to_rgb(image), self.box(*image.size)
        if box != (0, 0, *image.size):
            image = image.crop(box)
        return np.asarray(image.resize((self.input_size, self.input_size), Image.Resampling.BILINEAR))

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Returns what is kept of a photo, in pixels: left, top, right, bottom, the last two not included."""
        sides = (width, height) if self.resize == "stretch" else (min(width, height), min(width, height))
        across, down = (max(1, round(self.crop_fraction * side)) for side in sides)
        left, top = (width - across) // 2, (height - down) // 2
        return left, top, left + across, top + down

    def scale(self, width: int, height: int) -> int:
        """Returns by what a JPEG photo is divided when it is decoded: 1, 2, 4 or 8.

        With `scaled` it is the most that leaves what is kept at least half as large again as `input_size`, so that
        nothing is ever enlarged and the resize still has pixels to average; with `full` it is 1.
        """
        if self.decode == "full":
            return 1
        left, top, right, bottom = self.box(width, height)
        shorter = min(right - left, bottom - top)
        return next((scale for scale in (8, 4, 2) if 2 * shorter >= 3 * self.input_size * scale), 1)

    def to_dict(self) -> dict[str, Any]:
        """Returns the spec as it is written into manifests and artifacts."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PreprocessSpec":
        """Reads what `to_dict` wrote.

        Raises:
            RunError: a field is unknown, missing or not allowed, or the version is not this one's.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown or values.get("version") != cls.version:
            raise RunError(
                f"This preprocessing was written by another version of tlkit (version {values.get('version')}, "
                f"this tlkit reads {cls.version}). Install the tlkit that wrote it, or train again."
            )
        if missing := [field.name for field in fields(cls) if field.name not in values]:
            raise RunError(f"The preprocessing of this run is broken: it has no {missing[0]!r}. {_REPAIR}")
        for name, allowed in _ALLOWED.items():
            if not allowed(values[name]):
                raise RunError(
                    f"The preprocessing of this run is broken: {name!r} can't be {values[name]!r:.80}. {_REPAIR}"
                )
        return cls(**values)


def _only(*allowed: object) -> Callable[[Any], bool]:
    return lambda value: any(type(value) is type(one) and value == one for one in allowed)


_REPAIR = "Restore run.json from a copy, or train again."
# What each field of a spec that comes from a file may be.
_ALLOWED: dict[str, Callable[[Any], bool]] = {
    "input_size": lambda value: type(value) is int and 1 <= value <= MAX_INPUT_SIZE,
    "resize": _only("stretch", "crop"),
    "crop_fraction": lambda value: type(value) in (int, float) and 0 < value <= 1,
    "interpolation": _only("bilinear"),
    "antialias": _only(True),
    "decode": _only("full", "scaled"),
    "orientation": _only("exif"),
    "alpha": _only("white"),
    "depth16": _only("high-byte"),
    "color": _only("rgb"),
    "dtype": _only("uint8"),
}


@dataclass(frozen=True)
class Glance:
    """What a quick look at a file shows.

    Attributes:
        content: Its bytes.
        image: The photo, upright, as RGB: the whole of it, in any resolution that is at least what was asked for.
        size: Width and height of the photo in the file, upright, in pixels.
        turned: Whether its EXIF block turned it.
    """

    content: bytes
    image: Image.Image
    size: tuple[int, int]
    turned: bool


def check_image(path: Path) -> bytes:
    """Finds out whether a file can be decoded, several times faster than decoding it, and returns its bytes.

    Raises:
        ImageError: as for `PreprocessSpec.load`.
    """
    return glance(path).content


def glance(path: Path, least: int = 1) -> Glance:
    """Looks at a file several times faster than by decoding it.

    Every byte is parsed, but JPEG photos (almost all there are) are rebuilt at a fraction of their size only: an
    eighth, or more where a side would have less than `least` pixels.

    Raises:
        ImageError: as for `PreprocessSpec.load`.
    """
    content = read_file(path)
    with _damage_reported():
        image = _open(content)
        width, height = image.size
        image.draft("RGB", (max(least, width // 8), max(least, height // 8)))
        upright = _upright(image)
        turn = turn_of(image)
        size = (height, width) if turn in _LYING else (width, height)
        return Glance(content, _to_rgb(upright), size, turn is not None)


@contextmanager
def _damage_reported() -> Iterator[None]:
    """Turns whatever a damaged file provokes in Pillow's decoders, which is every kind of exception, into a reason."""
    try:
        yield
    except ImageError:
        raise
    except Exception as err:
        raise ImageError(f"damaged image ({str(err) or type(err).__name__})") from err


def read_file(path: str | Path) -> bytes:
    """Returns the bytes of an image file.

    Raises:
        ImageError: it is missing, too large, or can't be read.
    """
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            raise ImageError("not a file")
        if about.st_size > MAX_BYTES:
            raise ImageError(f"{about.st_size / 2**20:.0f} MiB, the limit is {MAX_BYTES // 2**20} MiB")
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError as err:
        raise ImageError("no such file") from err
    except OSError as err:
        raise ImageError(f"can't be read ({err.strerror or err})") from err


def _open(content: bytes) -> Image.Image:
    """Opens without decoding, within the limits."""
    if not content:
        raise ImageError("empty file")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as err:
        raise ImageError(f"too many pixels, the limit is {MAX_PIXELS:,}") from err
    except Image.UnidentifiedImageError as err:
        raise ImageError("not a JPEG, PNG, BMP, GIF or WebP image") from err
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{image.width} x {image.height} pixels, the limit is {MAX_PIXELS:,}")
    return image


# EXIF orientation to what puts a photo upright. Only pixels are turned; the EXIF block, often broken, is left alone.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Those that swap width and height.
_LYING = tuple(_TURNS[code] for code in (5, 6, 7, 8))


def _upright(image: Image.Image) -> Image.Image:
    """Decodes, and applies the EXIF rotation."""
    image.load()
    turn = turn_of(image)
    return image if turn is None else image.transpose(turn)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Returns what puts a photo upright, or None. Metadata that can't be parsed says nothing about the pixels."""
    try:
        return _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # whatever a damaged block provokes in the parser
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts from any mode: grey, palette, 16-bit, CMYK, with or without alpha."""
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):  # I;16, I;16B, I: one channel of 16 bits
        values = np.asarray(image).astype(np.int64)
        grey = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
        # In 16 bits transparency is one level; laying it over white makes it white.
        return Image.fromarray(np.where(values == transparent, np.uint8(255), grey)).convert("RGB")
    if "A" in image.mode or "a" in image.mode or transparent is not None:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
