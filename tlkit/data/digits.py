"""The embedded data set: scikit-learn's 1,797 handwritten digits, 8x8 grey, 10 classes.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998, its test set.
Written once as PNG files into the cache, so that there is one code path for files.
"""

import os
import secrets
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit.data.cache import cache_folder
from tlkit.errors import DataError

NAME = "digits"
IMAGES = 1797


def digits_folder() -> Path:
    """Returns the folder `<cache>/digits-v1/<class>/*.png`, written on first use, whole or not at all.

    Raises:
        DataError: the cache folder can't be written.
    """
    folder = cache_folder() / "digits-v1"
    if folder.is_dir():
        return folder
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(3)}")
    try:
        _write(temporary)
        os.replace(temporary, folder)
    except OSError as err:
        if not folder.is_dir():  # else another process was faster
            raise DataError(
                f"The embedded digits can't be written to {folder}: {err.strerror}. "
                "Set TLKIT_CACHE to a folder that can be written, or give --data."
            ) from err
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(folder: Path) -> None:
    from sklearn.datasets import load_digits  # takes over a second, needed once

    digits = load_digits()
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    for i, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        pixels = np.round(image * (255 / 16)).astype(np.uint8)  # the levels are 0 to 16
        Image.fromarray(pixels).save(folder / str(label) / f"{i:04d}.png")
