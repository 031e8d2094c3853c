"""Photos from arrays in memory: checked, made uint8, and named by what they hold, as files are."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from tlkit.data.array_labels import labels_of
from tlkit.data.discover import Folder, Photo
from tlkit.data.origin import Origin
from tlkit.errors import DataError, some
from tlkit.preprocess import MAX_PIXELS, PreprocessSpec
from tlkit.progress import Progress

VERIFICATION = "verification"  # the folder in a run that keeps what later commands need
_MULTIPLY = "Multiply by 255: (255 * x).round().astype('uint8')"


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What `tlkit.finetune(x=..., y=...)` was given.

    Attributes:
        x: `[N, H, W, 3]`, `[N, H, W, 1]` or `[N, H, W]` in [0, 255], or a list of `[H, W, 3]`, `[H, W, 1]` or `[H, W]`.
        y: `[N]` numbers or names of classes, or `[N, C]` one-hot.
        validation: More of the kind `(x, y)`; a part of the training photos when None.
        test: Likewise.
        classes: Names of the classes, in order; when None numbers are their own names, and names are sorted.
    """

    x: Any
    y: Any
    validation: tuple[Any, Any] | None = None
    test: tuple[Any, Any] | None = None
    classes: Sequence[str] | None = None


@dataclass(frozen=True)
class ArrayPhoto(Photo):
    """A photo in memory.

    Attributes:
        image: `[H, W, 3]` or `[H, W]` uint8.
    """

    image: np.ndarray = field(compare=False, repr=False)

    def load(self, spec: PreprocessSpec) -> np.ndarray:
        """Returns its pixels, `[S, S, 3]` uint8, exactly those of the file that `png` gives."""
        return spec.apply(Image.fromarray(self.image))

    def png(self) -> bytes:
        """Returns it as a file. Its sha256 is that of the photo."""
        return _png(self.image)


def photos_from(arrays: Arrays, *, progress: Progress | None = None) -> Folder:
    """Checks arrays, and gives each image a path that says which it is: `<class>/x_000017.png` is `x[17]`.

    Those of the validation data are called `x_val_...`, those of the test data `x_test_...`.

    Raises:
        DataError: shapes, values or labels that can't be used; the message says which.
    """
    given = {"train": (arrays.x, arrays.y)}
    given |= {name: part for name, part in (("val", arrays.validation), ("test", arrays.test)) if part is not None}
    images = {name: _images(part[0], _title(name, "x")) for name, part in given.items()}
    classes, labels = labels_of({_title(name, "y"): part[1] for name, part in given.items()}, arrays.classes)
    found: dict[str, list[Photo]] = {}
    for name, part in images.items():
        numbers = labels[_title(name, "y")]
        if len(part) != len(numbers):
            raise DataError(
                f"{_title(name, 'x')} has {len(part)} images and {_title(name, 'y')} has {len(numbers)} labels. Give "
                "one label for each image."
            )
        stem = "x" if name == "train" else f"x_{name}"
        places = [f"{classes[label]}/{stem}_{i:06d}.png" for i, label in enumerate(numbers)]
        hashes = _hashes(part, progress or Progress())
        found[name] = [ArrayPhoto(*one) for one in zip(places, numbers, hashes, part, strict=True)]
    kind: Literal["classes", "splits"] = "splits" if len(found) > 1 else "classes"
    photos = found if kind == "splits" else {"all": found["train"]}
    origin = Origin(kind="arrays", source="")
    return Folder(root=Path(VERIFICATION), kind=kind, classes=classes, photos=photos, problems=[], origin=origin)


def again(photos: Iterable[Photo], x: Any, *, progress: Progress | None = None) -> list[Photo]:  # noqa: ANN401
    """Returns photos of an earlier process with their images, which are found in `x` by their contents.

    Raises:
        DataError: some are not in `x`.
    """
    images, photos = _images(x, "x"), list(photos)
    by_hash = dict(zip(_hashes(images, progress or Progress()), images, strict=True))
    if lost := [photo.path for photo in photos if photo.sha256 not in by_hash]:
        raise DataError(
            f"{len(lost)} of {len(photos)} training images of this run are not in x: {some(lost, 3)}. Give the same x "
            "as when it was begun, or begin anew."
        )
    return [ArrayPhoto(photo.path, photo.label, photo.sha256, by_hash[photo.sha256]) for photo in photos]


def _title(name: str, which: str) -> str:
    return which if name == "train" else f"{which} of {'validation' if name == 'val' else name}_data"


def _hashes(images: Sequence[np.ndarray], progress: Progress) -> list[str]:
    """Returns the sha256 of each image's PNG file."""
    found = []
    with progress.bar("Checking images", len(images)) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for digest in pool.map(lambda image: sha256(_png(image)).hexdigest(), images):
            found.append(digest)
            bar.advance()
    return found


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)  # a quarter of the time of the default
    return file.getvalue()


def _images(x: Any, title: str) -> list[np.ndarray]:  # noqa: ANN401
    """Returns `[H, W, 3]` or `[H, W]` uint8 images."""
    if not isinstance(x, list | tuple):
        x = _array(x, title)
        if x.ndim not in (3, 4):
            raise DataError(f"{title} has the shape {list(x.shape)}. It takes [N, H, W, 3], [N, H, W, 1] or [N, H, W].")
    images = list(_checked(x, title))
    if not images:
        raise DataError(f"{title} holds no image.")
    return images


def _array(value: Any, title: str) -> np.ndarray:  # noqa: ANN401
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as err:  # rows of different lengths, a tensor that is on another device
        raise DataError(f"{title} can't become an array of NumPy: {err}.") from err


def _checked(x: Sequence[Any], title: str) -> Iterator[np.ndarray]:
    """Yields images as uint8; at the end it is known whether there was any value above 1."""
    top = 0.0
    for i, one in enumerate(x):
        image = _array(one, f"{title}[{i}]")
        _check_shape(image, f"{title}[{i}]")
        image = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
        if image.dtype.kind not in "uif":
            raise DataError(f"{title}[{i}] is of type {image.dtype}. It takes uint8, or other numbers in [0, 255].")
        low, high = image.min(), image.max()
        if not (low >= 0 and high <= 255):  # also where one is no number
            raise DataError(
                f"{title}[{i}] has values from {low:g} to {high:g}. It takes RGB in [0, 255], not normalized: the "
                "model does that itself."
            )
        top = max(top, float(high))
        yield image if image.dtype == np.uint8 else np.rint(image).astype(np.uint8)
    if len(x) and top <= 1:
        raise DataError(f"{title} has no value above 1, and takes [0, 255]. {_MULTIPLY}")


def _check_shape(image: np.ndarray, title: str) -> None:
    shape = list(image.shape)
    if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] not in (1, 3):
        raise DataError(f"{title} has the shape {shape}: channels come last here. Use np.moveaxis(x, 1, -1).")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)) or 0 in shape:
        raise DataError(f"{title} has the shape {shape}. An image is [H, W, 3], [H, W, 1] or [H, W].")
    if shape[0] * shape[1] > MAX_PIXELS:
        raise DataError(f"{title} has {shape[1]} x {shape[0]} pixels, the limit is {MAX_PIXELS:,}.")
