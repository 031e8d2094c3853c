"""The main job: a folder of photos and an architecture in, a run folder out."""

import hashlib
import platform
import shlex
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import __version__
from tlkit.data.digits import digits_folder
from tlkit.data.discover import discover
from tlkit.data.split import PhotoSet, split
from tlkit.errors import OptionError, some
from tlkit.lazy import import_keras
from tlkit.manifest import create_run, new_manifest, write_manifest
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.transfer.options import FinetuneOptions, Plan, plan


def finetune(options: FinetuneOptions, progress: Progress | None = None) -> Path:
    """Trains, evaluates, and leaves a run.

    Args:
        options: What to do.
        progress: Shows what happens; silent when None.

    Returns:
        The run folder; contract 1 says what is in it.

    Raises:
        TlkitError: bad input of any kind; nothing is left behind then.
    """
    progress = progress or Progress()
    started = time.perf_counter()
    decided = plan(options)
    photos = read_photos(options, decided, progress)
    spec = PreprocessSpec(input_size=decided.input_size)

    import_keras()  # only now that the input is known to be good
    from tlkit.transfer import job

    prepared = job.prepare(options, decided, photos, progress)
    data_name = Path(options.data).resolve().name if decided.own_data else str(options.data)
    folder = create_run(options.runs, options.name, base=decided.architecture.name, data=data_name)
    try:
        manifest = _manifest(options, decided, photos, spec, prepared.weights)
        write_manifest(folder, manifest)
        manifest |= job.train(prepared, folder, spec, progress)
        manifest |= {"status": "complete", "seconds": round(time.perf_counter() - started, 2)}
        write_manifest(folder, manifest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # it holds nothing that could be used
        raise
    return folder


def read_photos(options: FinetuneOptions, decided: Plan, progress: Progress) -> PhotoSet:
    """Finds, checks and splits the photos.

    Raises:
        DataError: see `discover` and `split`.
        OptionError: `classes` does not agree with what is there.
    """
    root = Path(options.data).expanduser() if decided.own_data else digits_folder()
    folder = discover(root, strict=options.strict, progress=progress)
    found = len(folder.classes)
    if options.classes is not None and options.classes != found:
        raise OptionError(
            f"--classes {options.classes} was given, but {root} has {found} classes: {some(folder.classes, 12)}. "
            "Leave --classes out, or check --data."
        )
    photos = split(folder, seed=options.seed)
    for problem in photos.problems[:20]:
        progress.warn(f"{problem.path} is left out: {problem.reason}")
    if len(photos.problems) > 20:
        progress.warn(f"{len(photos.problems) - 20} more files are left out; run.json lists all of them.")
    counts = np.bincount([photo.label for photo in photos.train], minlength=found)
    if counts.max() > 3 * counts.min() and options.class_weight == "none":
        progress.warn(
            f"Class {folder.classes[counts.argmax()]!r} has {counts.max()} training photos, "
            f"{folder.classes[counts.argmin()]!r} only {counts.min()}. Consider --class-weight auto."
        )
    progress.say(
        f"{found} classes; {len(photos.train)} photos to train on, {len(photos.val)} to validate, "
        f"{len(photos.test)} to test"
    )
    return photos


def _is_command() -> bool:
    """Whether this process is the command line, as `tlkit` or `python -m tlkit`."""
    program = Path(sys.argv[0])
    return "tlkit" in (program.stem, program.parent.name)


def _manifest(
    options: FinetuneOptions, decided: Plan, photos: PhotoSet, spec: PreprocessSpec, weights: dict[str, Any]
) -> dict[str, Any]:
    everything = photos.train + photos.held_out
    lines = sorted(f"{photo.path}\t{photos.classes[photo.label]}\t{photo.sha256}\n" for photo in everything)
    return new_manifest(
        command=shlex.join(["tlkit", *sys.argv[1:]]) if _is_command() else "tlkit.finetune",
        seed=options.seed,
        versions={
            "tlkit": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("tensorflow", "keras", "numpy", "pillow")},
        },
        base=decided.architecture.name,
        head=decided.head,
        stages=list(decided.architecture.stages),
        weights=weights,
        freeze={"strategy": decided.freeze.text, "frozen_stages": list(decided.frozen)},
        schedule={},
        classes=list(photos.classes),
        preprocess=spec.to_dict(),
        data={
            "kind": photos.kind if decided.own_data else str(options.data),
            "root": str(photos.root.absolute()),
            "fingerprint": hashlib.sha256("".join(lines).encode()).hexdigest(),
            "images": len(everything),
            "left_out": [vars(problem) for problem in photos.problems],
        },
        split=photos.to_split(),
    )
