"""The constructors of `keras.applications`: their names, sizes, preprocessing and published weights."""

import contextlib
import difflib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import keras
import numpy as np
from keras.src.utils import file_utils

from tlkit.errors import BaseError, OptionError, UnknownNameError, WeightsError
from tlkit.models.bases import PREFIX
from tlkit.models.imagenet import PublishedFile, fetch
from tlkit.models.origins import Normalization
from tlkit.progress import Progress

# Default and smallest input size in pixels, where they are not 224 and 32. A test holds them to the constructors.
SIZES = {
    "EfficientNetB1": (240, 32),
    "EfficientNetB2": (260, 32),
    "EfficientNetB3": (300, 32),
    "EfficientNetB4": (380, 32),
    "EfficientNetB5": (456, 32),
    "EfficientNetB6": (528, 32),
    "EfficientNetB7": (600, 32),
    "EfficientNetV2B1": (240, 32),
    "EfficientNetV2B2": (260, 32),
    "EfficientNetV2B3": (300, 32),
    "EfficientNetV2L": (480, 32),
    "EfficientNetV2M": (480, 32),
    "EfficientNetV2S": (384, 32),
    "InceptionResNetV2": (299, 75),
    "InceptionV3": (299, 75),
    "NASNetLarge": (331, 32),
    "Xception": (299, 71),
}


def names() -> list[str]:
    """Returns the names of all constructors."""
    public = vars(keras.applications)
    return [name for name, value in public.items() if inspect.isfunction(value) and _takes_top(value)]


def _takes_top(function: Callable) -> bool:
    return "include_top" in inspect.signature(function).parameters


def find(name: str) -> Callable[..., keras.Model]:
    """Returns a constructor.

    Raises:
        UnknownNameError: there is none of that name; the message names close ones.
    """
    known = names()
    if name in known:
        return getattr(keras.applications, name)
    value = getattr(keras.applications, name, None)
    if isinstance(value, ModuleType):
        inside = [f"{PREFIX}{one}" for one in known if hasattr(value, one)]
        raise UnknownNameError(f"keras.applications.{name} is a module, not a model. It holds: {', '.join(inside)}.")
    lower = {one.lower(): one for one in known}
    close = [f"{PREFIX}{lower[one]}" for one in difflib.get_close_matches(name.lower(), lower, n=2, cutoff=0.6)]
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    raise UnknownNameError(f"keras.applications has no {name!r}.{meant} It has: {', '.join(sorted(known))}.")


def sizes(name: str) -> tuple[int, int]:
    """Returns the default and the smallest input size of a constructor, in pixels.

    Raises:
        UnknownNameError: as `find`.
    """
    find(name)
    return SIZES.get(name, (224, 32))


def build(name: str, input_size: int) -> keras.Model:
    """Builds a network of keras.applications without its classifier, with random weights.

    Its graph is that for ImageNet weights, where there are any for that size: EfficientNet has one more Rescaling then.

    Raises:
        OptionError: it does not take that size; Keras says why.
    """
    with _replaced(file_utils, "get_file", lambda *_, **__: ""), _replaced(keras.Model, "load_weights", _no_weights):
        try:
            return _construct(name, input_size, "imagenet")
        except OptionError:
            return _construct(name, input_size, None)


def _no_weights(*_: Any, **__: Any) -> None:  # noqa: ANN401
    """Takes the place of `Model.load_weights`."""


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:  # noqa: ANN401
    real = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, real)


def _construct(name: str, input_size: int, weights: str | None) -> keras.Model:
    constructor = find(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that no published file was trained on
        try:
            return constructor(include_top=False, weights=weights, input_shape=(input_size, input_size, 3))
        except ValueError as err:
            reason = " ".join(str(err).split())
            raise OptionError(
                f"{PREFIX}{name} can't take {input_size} pixels: {reason}. Choose another --input-size."
            ) from err


def preprocessing(name: str) -> tuple[Normalization, bool]:
    """Returns what a constructor's `preprocess_input` does to RGB in [0, 255], found by probing it.

    Returns:
        Scale and offset, each a number or one for each channel in the order RGB, and whether the result has blue first.

    Raises:
        BaseError: it does something else than scale, shift and swap channels.
    """
    preprocess = sys.modules[find(name).__module__].preprocess_input
    pixels = np.zeros((1, 1, 5, 3))
    pixels[0, 0, 1:4] = 255 * np.eye(3)
    pixels[0, 0, 4] = 31, 97, 211
    answer = np.asarray(preprocess(pixels.copy()), np.float64)[0, 0]
    offset, matrix = answer[0], (answer[1:4] - answer[0]) / 255
    bgr = bool(abs(matrix[0, 0]) < abs(matrix[0, 2]))
    if bgr:
        offset, matrix = offset[::-1], matrix[:, ::-1]
    scale = np.diag(matrix)
    expected = pixels[0, 0, 4] * scale + offset
    given = answer[4][::-1] if bgr else answer[4]
    if not np.allclose(matrix, np.diag(scale), atol=1e-9) or not np.allclose(expected, given, atol=1e-4):
        raise BaseError(f"What keras.applications does to the input of {name} is more than a scale and an offset.")
    return (_short(scale), _short(offset)), bgr


def _short(values: np.ndarray) -> float | tuple[float, ...]:
    """One number where all channels have the same."""
    return float(values[0]) if np.all(values == values[0]) else tuple(map(float, values))


class _Asked(Exception):
    """A constructor asked for a file: it has told all that was wanted of it."""

    def __init__(self, file: PublishedFile) -> None:
        super().__init__(file.url)
        self.file = file


def fetch_weights(name: str, input_size: int, progress: Progress | None = None) -> Path:
    """Returns the file that a constructor takes for `weights="imagenet"`, downloading it when it is not there.

    The constructor is asked which it is; it is fetched as all others are, to the place where Keras looks for it.

    Raises:
        DownloadError: it can't be had.
        OptionError: there is none for that size; Keras says why.
        WeightsError: there is none at all.
    """

    def asked(fname: str | None = None, origin: str | None = None, **rest: Any) -> NoReturn:  # noqa: ANN401
        checksum = rest.get("file_hash") or rest.get("md5_hash")
        kind = {"sha256" if len(checksum) == 64 else "md5": checksum} if checksum else {}
        raise _Asked(PublishedFile(url=origin or "", name=fname, **kind))

    try:
        with _replaced(file_utils, "get_file", asked):
            _construct(name, input_size, "imagenet")
    except _Asked as answer:
        file = answer.file
    else:
        raise WeightsError(f"There are no ImageNet weights for {PREFIX}{name}. Use --weights none or a file.")
    return fetch(file, of=f"{PREFIX}{name}", source=f"keras.applications.{name}", progress=progress)
