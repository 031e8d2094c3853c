"""What a fine-tuning and its forecast begin with: options completed and checked, photos found; nothing is computed."""

from dataclasses import dataclass

from tlkit.data.arrays import Arrays
from tlkit.data.more import Grown
from tlkit.data.split import PhotoSet
from tlkit.lazy import import_keras
from tlkit.manifest import check_place
from tlkit.models import bases
from tlkit.progress import Progress
from tlkit.transfer import devices, grow, tune
from tlkit.transfer.options import FinetuneOptions, check_values
from tlkit.transfer.photos import check_weights_file, read_photos, tell
from tlkit.transfer.plans import Plan, plan


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What is known before a model is built.

    Attributes:
        options: With what comes from the run that is gone on from.
        decided: Their plan.
        photos: Found, checked and split.
        grown: How they were joined with those of that run; None without one.
    """

    options: FinetuneOptions
    decided: Plan
    photos: PhotoSet
    grown: Grown | None


def found_out(options: FinetuneOptions, progress: Progress, arrays: Arrays | None = None) -> Begun:
    """Completes and checks options, finds the photos, and starts the devices.

    Args:
        options: What to do.
        progress: Shows what happens.
        arrays: What to train on instead of `options.data`.

    Raises:
        TlkitError: bad input of any kind.
    """
    freeze = options.freeze
    if options.parent is not None:
        options = grow.inherit(options)
    check_values(options)
    # Others' bases are built to be planned, and devices start before anything is computed.
    early = bases.is_foreign(str(options.base))
    if early:
        start_devices(options, progress)
    decided = plan(options)
    check_place(options.runs, options.name)
    check_weights_file(decided)
    if options.tune:
        tune.check(options, decided)
    for remark in decided.architecture.remarks:
        progress.say(remark)
    found = None
    if options.parent is None:
        photos = read_photos(options, decided, progress, arrays)
    else:
        grow.check_parent(options, decided)
        found = grow.read_more(options, progress)
        options, photos = grow.settle(options, found, given=freeze), found.photos
        decided = plan(options)
        tell(photos, options, progress)
    if not early:
        start_devices(options, progress)
    return Begun(options=options, decided=decided, photos=photos, grown=found)


def start_devices(options: FinetuneOptions, progress: Progress) -> None:
    """Imports Keras and starts the devices, where more than one is to train; see `devices.start`."""
    if options.devices != 1:
        import_keras()
        devices.start(options.devices, progress)
