"""What a run keeps of arrays: the images that later commands look at again, as files in the run folder."""

import os
import secrets
import shutil
from pathlib import Path

from tlkit.data.arrays import VERIFICATION, ArrayPhoto
from tlkit.data.calibration import DEFAULT_CALIBRATION, choose
from tlkit.data.split import PhotoSet
from tlkit.manifest import naming, staging


def keep_verification(run: Path, photos: PhotoSet, *, seed: int) -> None:
    """Writes `<run>/verification/<class>/*.png`, whole or not at all, unless it is there.

    It holds what was not trained on, which evaluation and the proof of an artifact need, and the training images that
    an int8 artifact is calibrated on by default. Photos that are files already are not copied.

    Args:
        run: The run folder; its manifest is written already.
        photos: Those of the run.
        seed: Of the run, by which calibration draws its photos.
    """
    folder = run / VERIFICATION
    kept = [*photos.held_out, *choose(list(photos.train), DEFAULT_CALIBRATION, seed=seed)]
    images = [photo for photo in kept if isinstance(photo, ArrayPhoto)]
    if not images or folder.exists():
        return
    temporary = staging(folder) / f".{VERIFICATION}.{os.getpid()}.{secrets.token_hex(3)}"
    try:
        with naming(folder):
            for photo in images:
                path = temporary / photo.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(photo.png())
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
