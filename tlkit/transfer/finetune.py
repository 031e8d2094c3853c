"""The main job: a folder of photos and an architecture in, a run folder out."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.data.arrays import Arrays, photos_from
from tlkit.data.digits import digits_folder
from tlkit.data.find import find_photos
from tlkit.data.kept import keep_verification
from tlkit.data.multi_label import labels_of
from tlkit.data.split import PhotoSet, split
from tlkit.errors import CheckpointError, DivergedError, OptionError, WeightsError, some
from tlkit.lazy import import_keras
from tlkit.lock import exclusive
from tlkit.manifest import ARTIFACTS, CHECKPOINTS, NAME, check_place, create_run, read_manifest, sweep, write_manifest
from tlkit.progress import Progress
from tlkit.transfer.options import NO_FILE, FinetuneOptions
from tlkit.transfer.plans import Choice, Plan, plan
from tlkit.transfer.record import (
    can_resume,
    check_base,
    find_unfinished,
    new_record,
    recorded_options,
    recorded_photos,
    unfinished,
)

if TYPE_CHECKING:
    from tlkit.transfer.job import Prepared


def finetune(options: FinetuneOptions, progress: Progress | None = None, arrays: Arrays | None = None) -> Path:
    """Trains, evaluates, and leaves a run.

    Ctrl-C in training stops it after the batch and leaves a run with the best model so far; a second one, or a killed
    process, leaves a run that `resume` goes on with.

    Args:
        options: What to do.
        progress: Shows what happens; silent when None.
        arrays: What to train on instead of `options.data`.

    Returns:
        The run folder; contract 1 says what is in it.

    Raises:
        TlkitError: bad input of any kind; nothing is left behind then, unless training had begun.
    """
    progress = progress or Progress()
    decided = plan(options)
    check_place(options.runs, options.name)
    if decided.weights not in NO_FILE and not Path(decided.weights).expanduser().is_file():
        raise WeightsError(f"There is no weights file {decided.weights}. Check the path given with --weights.")
    for remark in decided.architecture.remarks:
        progress.say(remark)
    photos = read_photos(options, decided, progress, arrays)
    import_keras()  # only now that the input is known to be good
    from tlkit.transfer import job

    prepared = job.prepare(options, decided, photos, progress)
    data_name = Path(options.data).resolve().name if decided.own_data else str(options.data)
    sweep(options.runs)
    manifest = new_record(prepared)
    folder = create_run(options.runs, options.name, base=decided.architecture.name, data=data_name)
    with exclusive(folder):
        _train(folder, manifest, prepared, progress)
    return folder


def resume(
    name: str | None,
    runs: Path,
    given: dict[str, Any],
    progress: Progress | None = None,
    *,
    data: str | None = None,
    x: Any = None,  # noqa: ANN401
) -> Path:
    """Goes on with a run whose training was killed or interrupted, where its last checkpoint is.

    Args:
        name: Of the run; None takes the newest that is not done.
        runs: The folder that holds it.
        given: Options that were given again; they must agree with those the run was begun with.
        progress: Shows what happens; silent when None.
        data: Where the photos are now, if they have moved.
        x: The images of a run that was begun from arrays.

    Raises:
        RunError: there is nothing to go on with, or another process is at it.
        TlkitError: the photos or the weights have changed since.
    """
    progress = progress or Progress()
    folder = find_unfinished(name, runs)
    with exclusive(folder):
        sweep(runs)
        manifest = read_manifest(folder)
        if given or unfinished(manifest):
            options = recorded_options(folder, manifest, given)
        if not unfinished(manifest):
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # a kill in the very last moment leaves it
            progress.say(f"{folder} is complete: there is nothing to go on with")
            return folder
        decided = plan(options, Choice.from_manifest(manifest["freeze"]))
        check_base(folder, manifest, decided)
        photos = recorded_photos(folder, manifest, decided, data, x)
        progress.say(f"Going on with {folder}")
        import_keras()
        from tlkit.transfer import job

        prepared = job.prepare(options, decided, photos, progress)
        if prepared.weights["sha256"] != manifest["weights"]["sha256"]:
            raise WeightsError(
                f"The weights that {folder} was begun with have changed: {manifest['weights']['source']}. Put that "
                "file back, or train again."
            )
        data_now = manifest["data"] | {"root": photos.recorded_root}
        manifest |= {"data": data_now, "split": photos.to_split()}
        _train(folder, manifest, prepared, progress, created=False)
    return folder


def resume_or_begin(values: dict[str, Any], given: dict[str, Any], progress: Progress) -> Path:
    """Goes on with an unfinished run, or begins one where there is none and a base was given.

    A command with `resume` can so be repeated until it is done, whatever kills it.

    Args:
        values: All options, by the names of `FinetuneOptions`.
        given: Those that were given, not left at their defaults.
        progress: Shows what happens.
    """
    name, runs, data = values["name"], values["runs"], given.get("data")
    must_agree = {key: value for key, value in given.items() if key not in ("name", "runs", "data")}
    if "base" in given and not can_resume(name, runs):
        progress.say("There is no unfinished run, so a new one begins")
        return finetune(FinetuneOptions(**values), progress)
    return resume(name, runs, must_agree, progress, data=data)


def _train(
    folder: Path, manifest: dict[str, Any], prepared: "Prepared", progress: Progress, *, created: bool = True
) -> None:
    """Trains into a run folder. What can be gone on with stays there, whatever happens.

    Args:
        folder: Of the run.
        manifest: As it begins.
        prepared: What is trained.
        progress: Shows what happens.
        created: Whether the folder was made for this: then it is removed when an error leaves nothing of use in it.
    """
    from tlkit.transfer import job

    started = time.perf_counter() - manifest.get("seconds", 0.0)

    def before_saving() -> None:
        """Takes back what a run that was stopped by Ctrl-C says of its model: it gets another one now."""
        latest = read_manifest(folder)
        if latest["artifacts"]:
            progress.warn(f"The artifacts of {folder} are removed: they are of the model as it was before.")
        manifest.update({"status": "running", "metrics": {}, "artifacts": []})
        write_manifest(folder, manifest)
        shutil.rmtree(folder / ARTIFACTS, ignore_errors=True)

    try:
        if manifest["status"] == "running":  # a stopped run stays as it is until it has another model
            write_manifest(folder, manifest)
            keep_verification(folder, prepared.photos, seed=prepared.options.seed)
        manifest |= job.train(prepared, folder, progress, before_saving)
        manifest |= {"status": "complete", "seconds": round(time.perf_counter() - started, 2)}
        write_manifest(folder, manifest)
    except KeyboardInterrupt:
        if (folder / NAME).exists():
            progress.say(f"{folder} can be gone on with: tlkit finetune --resume --name {folder.name}")
        raise
    except BaseException as err:
        kept = any((folder / CHECKPOINTS).glob("*.npz")) and not isinstance(err, DivergedError)
        if created and not kept:
            shutil.rmtree(folder, ignore_errors=True)
        elif kept and not isinstance(err, CheckpointError):
            progress.say(f"What was trained is kept. Go on with: tlkit finetune --resume --name {folder.name}")
        raise
    if manifest["schedule"]["interrupted"]:
        progress.say(f"Stopped early. Go on with: tlkit finetune --resume --name {folder.name}")
    else:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


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
    for problem in photos.problems[:20]:
        progress.warn(f"{problem.path} is left out: {problem.reason}")
    if len(photos.problems) > 20:
        progress.warn(f"{len(photos.problems) - 20} more files are left out; run.json lists all of them.")
    counts = np.bincount([label for photo in photos.train for label in labels_of(photo)], minlength=found)
    if counts.max() > 3 * counts.min() and options.class_weight == "none":
        progress.warn(
            f"Class {folder.classes[counts.argmax()]!r} has {counts.max()} training photos, "
            f"{folder.classes[counts.argmin()]!r} only {counts.min()}. Consider --class-weight auto."
        )
    held_out = {label for photo in photos.held_out for label in labels_of(photo)}
    if blind := [name for label, name in enumerate(folder.classes) if label not in held_out]:
        progress.warn(f"No photo of {some(blind)} is held out, so nothing tells how well it is known. Add photos.")
    progress.say(
        f"{found} classes; {len(photos.train)} photos to train on, {len(photos.val)} to validate, "
        f"{len(photos.test)} to test"
    )
    return photos
