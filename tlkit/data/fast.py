"""Photos to pixels for training, faster than the reference and within one grey level of it.

Two libraries do it where they are installed (`pip install 'tlkit[fast]'`): simplejpeg decodes JPEG files with the
library that Pillow uses, to the same pixels, and cykooz-resizer applies the reference's filter in vector instructions,
where rounding may differ by one level. Whatever they can't do, and every other format, goes to `PreprocessSpec.load`.
"""

import io
import math
import re
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit.preprocess import MAX_PIXELS, PreprocessSpec, read_file, turn_of

_JPEG = b"\xff\xd8\xff"
# What may say that a photo is to be turned: XMP, or Exif's tag 0x0112 with any value but a single 1, which is upright.
# Cameras write the tag into every photo, and Pillow takes longer to read it than to decode a small one.
_TURN = re.compile(
    rb"tiff:Orientation|\x12\x01.\x00(?!\x01\x00\x00\x00\x01\x00)|\x01\x12\x00.(?!\x00\x00\x00\x01\x00\x01)", re.DOTALL
)
KEPT_BYTES = 64 * 2**20  # of a thread's buffer: a photo of 16 megapixels
_own = threading.local()


def load(spec: PreprocessSpec, source: str | Path | bytes) -> np.ndarray:
    """Reads an image file, or its bytes, into `[S, S, 3]` uint8 RGB, within one grey level of `spec.load`.

    Raises:
        ImageError: as `PreprocessSpec.load`.
    """
    if not is_fast():
        return spec.load(source)
    content = source if isinstance(source, bytes) else read_file(source)
    pixels = _jpeg(spec, content) if content.startswith(_JPEG) else None
    return spec.load(content) if pixels is None else pixels


def names() -> list[str]:
    """Returns what makes the pixels, with versions: other ones may differ by a grey level."""
    return [f"{name} {version(name)}" for name in ("cykooz-resizer", "simplejpeg")] if is_fast() else []


@cache
def is_fast() -> bool:
    """Whether both libraries are there and do what the reference does."""
    try:
        import cykooz_resizer  # noqa: F401
        import simplejpeg  # noqa: F401

        version("cykooz-resizer"), version("simplejpeg")
    except Exception:  # also of one that is there and can't be loaded on this machine
        return False
    return _agrees()


def _agrees() -> bool:
    """Tries both on a small photo: a later version of theirs might do something else."""
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).resize((77, 58), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    spec = PreprocessSpec(input_size=24)
    pixels = _jpeg(spec, file.getvalue())
    return pixels is not None and np.abs(pixels.astype(int) - spec.load(file.getvalue())).max() <= 1


def _jpeg(spec: PreprocessSpec, content: bytes) -> np.ndarray | None:
    """Decodes and resizes an upright colour JPEG; None of any other, and of one that is damaged."""
    import simplejpeg

    if _TURN.search(_header(content)) and _is_turned(content):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours != "YCbCr" or height * width > MAX_PIXELS:
            return None
        scale = spec.scale(width, height)
        rows, columns = -(-height // scale), -(-width // scale)
        buffer = _buffer(4 * rows * columns)
        # The smallest size that is at least this one is this one, so libjpeg divides by `scale`.
        simplejpeg.decode_jpeg(content, "RGBX", min_height=rows, min_width=columns, buffer=buffer)
    except ValueError:  # whether it is damaged is for Pillow to say
        return None
    # Pillow takes four bytes a pixel as they are, without a copy; of that mode the resizer treats all channels alike.
    image = Image.frombuffer("CMYK", (columns, rows), buffer, "raw", "CMYK", 0, 1)
    left, top, right, bottom = (side / scale for side in spec.box(width, height))
    outer = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    if outer != (0, 0, *image.size):
        image = image.crop(outer)
    return _resized(image, (left - outer[0], top - outer[1], right - left, bottom - top), spec.input_size)


def _buffer(size: int) -> np.ndarray:
    """Returns bytes that belong to this thread. New ones for each photo would cost as much as decoding a small one:

    the system takes memory back when it is freed, and fills it with zeros when it is given again.
    """
    kept = getattr(_own, "buffer", None)
    if kept is None or len(kept) < size:
        kept = np.empty(size, np.uint8)
        if size <= KEPT_BYTES:
            _own.buffer = kept
    return kept[:size]


def _header(content: bytes) -> bytes:
    """Returns what comes before the first scan: searching all of a large photo would cost a tenth of decoding it."""
    at = 2
    while content[at : at + 1] == b"\xff" and content[at + 1 : at + 2] != b"\xda":
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content[:at] if content[at : at + 2] == b"\xff\xda" else content


def _is_turned(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            return turn_of(image) is not None
    except Exception:  # damaged: Pillow will say how
        return True


def _resized(image: Image.Image, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """Resizes a box (left, top, width, height) of an image of four channels to the first three, `[size, size, 3]`."""
    from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer

    if getattr(_own, "size", None) != size:  # a resizer has buffers of its own, so each thread has one
        _own.size, _own.resizer, _own.values = size, Resizer(), np.zeros((size, size, 4), np.uint8)
        _own.target = Image.frombuffer("CMYK", (size, size), _own.values, "raw", "CMYK", 0, 1)  # of the same memory
    algorithm = ResizeAlg.convolution(FilterType.bilinear)
    _own.resizer.resize_pil(image, _own.target, ResizeOptions(resize_alg=algorithm, crop_box=CropBox(*box)))
    pixels = np.empty((size, size, 3), np.uint8)
    for channel in range(3):  # four times as fast as all at once
        pixels[..., channel] = _own.values[..., channel]
    return pixels
