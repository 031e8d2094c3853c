"""What a fine-tuning is given, found and checked before anything heavy is imported."""

from pathlib import Path

import numpy as np

from tlkit.data.arrays import Arrays, photos_from
from tlkit.data.digits import digits_folder
from tlkit.data.find import find_photos
from tlkit.data.multi_label import labels_of
from tlkit.data.split import PhotoSet, split
from tlkit.errors import OptionError, WeightsError, some
from tlkit.progress import Progress
from tlkit.transfer.options import NO_FILE, FinetuneOptions
from tlkit.transfer.plans import Plan


def check_weights_file(decided: Plan) -> None:
    """Checks that a file given with `--weights` is there.

    Raises:
        WeightsError: it is not.
    """
    if decided.weights not in NO_FILE and not Path(decided.weights).expanduser().is_file():
        raise WeightsError(f"There is no weights file {decided.weights}. Check the path given with --weights.")


def read_photos(options: FinetuneOptions, decided: Plan, progress: Progress, arrays: Arrays | None = None) -> PhotoSet:
    """Finds, checks and splits the photos.

    Raises:
        DataError: see `discover` and `split`.
        OptionError: `classes` does not agree with what is there.
    """
    root = Path(options.data).expanduser() if decided.own_data else digits_folder()
    if arrays is not None:
        folder = photos_from(arrays, progress=progress)
    else:
        folder = find_photos(root, strict=options.strict, multi_label=options.multi_label, progress=progress)
    found = len(folder.classes)
    if options.classes is not None and options.classes != found:
        raise OptionError(
            f"--classes {options.classes} was given, but {root} has {found} classes: {some(folder.classes, 12)}. "
            "Leave --classes out, or check --data."
        )
    photos = split(folder, seed=options.seed)
    tell(photos, options, progress)
    return photos


def tell(photos: PhotoSet, options: FinetuneOptions, progress: Progress) -> None:
    """Says what there is to train on, and what may be wrong with it."""
    classes = photos.classes
    for problem in photos.problems[:20]:
        progress.warn(f"{problem.path} is left out: {problem.reason}")
    if len(photos.problems) > 20:
        progress.warn(f"{len(photos.problems) - 20} more files are left out; run.json lists all of them.")
    counts = np.bincount([label for photo in photos.train for label in labels_of(photo)], minlength=len(classes))
    if counts.max() > 3 * counts.min() and options.class_weight == "none":
        progress.warn(
            f"Class {classes[counts.argmax()]!r} has {counts.max()} training photos, "
            f"{classes[counts.argmin()]!r} only {counts.min()}. Consider --class-weight auto."
        )
    held_out = {label for photo in photos.held_out for label in labels_of(photo)}
    if blind := [name for label, name in enumerate(classes) if label not in held_out]:
        progress.warn(f"No photo of {some(blind)} is held out, so nothing tells how well it is known. Add photos.")
    progress.say(
        f"{len(classes)} classes; {len(photos.train)} photos to train on, {len(photos.val)} to validate, "
        f"{len(photos.test)} to test"
    )
