"""The main job: a folder of photos and an architecture in, a run folder out."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.data.arrays import Arrays
from tlkit.data.kept import keep_verification
from tlkit.data.pipeline import are_large
from tlkit.errors import CheckpointError, DivergedError, WeightsError
from tlkit.lazy import import_keras
from tlkit.lock import exclusive
from tlkit.manifest import (
    ARTIFACTS,
    CHECKPOINTS,
    NAME,
    create_run,
    locate_run,
    read_manifest,
    sweep,
    write_manifest,
)
from tlkit.progress import Progress
from tlkit.transfer import grow, tune
from tlkit.transfer.backend import check_same_backend
from tlkit.transfer.begin import found_out, start_devices
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import Choice, plan
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


def finetune(
    options: FinetuneOptions,
    progress: Progress | None = None,
    arrays: Arrays | None = None,
    callbacks: Sequence[Any] = (),
) -> Path:
    """Trains, evaluates, and leaves a run.

    Ctrl-C in training stops it after the batch and leaves a run with the best model so far; a second one, or a killed
    process, leaves a run that `resume` goes on with.

    Args:
        options: What to do.
        progress: Shows what happens; silent when None.
        arrays: What to train on instead of `options.data`.
        callbacks: Of Keras; see `tlkit.transfer.callbacks`.

    Returns:
        The run folder; contract 1 says what is in it.

    Raises:
        TlkitError: bad input of any kind; nothing is left behind then, unless training had begun.
    """
    progress = progress or Progress()
    _check_callbacks(callbacks)
    begun = found_out(options, progress, arrays)
    options, decided, found = begun.options, begun.decided, begun.grown
    import_keras()  # only now that the input is known to be good
    from tlkit.transfer import job

    prepared = replace(job.prepare(options, decided, begun.photos, progress), callbacks=tuple(callbacks))
    data_name = Path(options.data).resolve().name if decided.own_data else str(options.data)
    tuning = {}
    if options.tune:
        prepared, about = tune.tuned(prepared, progress)
        tuning = {"tuning": about}
    sweep(options.runs)
    manifest = new_record(prepared) | tuning
    if found is not None:
        data_name = grow.data_name(read_manifest(Path(str(options.parent))), data_name)
        manifest |= {"parent": grow.parent_entry(options, found), "data": {**manifest["data"], "name": data_name}}
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
    callbacks: Sequence[Any] = (),
) -> Path:
    """Goes on with a run whose training was killed or interrupted, where its last checkpoint is.

    Args:
        name: Of the run; None takes the newest that is not done.
        runs: The folder that holds it.
        given: Options that were given again; they must agree with those the run was begun with.
        progress: Shows what happens; silent when None.
        data: Where the photos are now, if they have moved.
        x: The images of a run that was begun from arrays.
        callbacks: Of Keras; they see the epochs from here on.

    Raises:
        RunError: there is nothing to go on with, or another process is at it.
        TlkitError: the photos or the weights have changed since, or a callback can't work.
    """
    progress = progress or Progress()
    _check_callbacks(callbacks)
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
        check_same_backend(folder, manifest)
        # `auto` stays what it was, whatever machine this is.
        recorded = manifest.get("precision", {"trained": "float32", "why": ""})
        options = replace(options, precision=recorded["trained"])
        start_devices(options, progress)
        decided = plan(options, Choice.from_manifest(manifest["freeze"]))
        check_base(folder, manifest, decided)
        photos = recorded_photos(folder, manifest, decided, data, x)
        progress.say(f"Going on with {folder}")
        import_keras()
        from tlkit.transfer import job

        prepared = replace(job.prepare(options, decided, photos, progress), callbacks=tuple(callbacks))
        prepared = replace(prepared, precision=replace(prepared.precision, why=recorded["why"]))
        if prepared.weights["sha256"] != manifest["weights"]["sha256"]:
            raise WeightsError(
                f"The weights that {folder} was begun with have changed: {manifest['weights']['source']}. Put that "
                "file back, or train again."
            )
        data_now = manifest["data"] | {"root": photos.recorded_root}
        manifest |= {"data": data_now, "split": photos.to_split()}
        _train(folder, manifest, prepared, progress, created=False)
    return folder


def _check_callbacks(callbacks: Sequence[Any]) -> None:
    if callbacks:  # else Keras is not imported yet
        from tlkit.transfer.callbacks import check_callbacks

        check_callbacks(callbacks)


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
    if "parent" in given:
        must_agree["parent"] = str(locate_run(given["parent"], runs).absolute())
    if given.keys() & {"base", "parent"} and not can_resume(name, runs):
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
        if are_large(prepared.photos.root, prepared.photos.train, prepared.spec):
            progress.say("These photos are much larger than the input: --decode scaled would read them faster")
        manifest |= job.train(prepared, folder, progress, before_saving)
        if manifest["parent"]:
            manifest["metrics"] = grow.remembered(folder, manifest, progress)
        manifest |= {"status": "complete", "seconds": round(time.perf_counter() - started, 2)}
        write_manifest(folder, manifest)
    except KeyboardInterrupt:
        if (folder / NAME).exists():
            progress.say(f"{folder} can be gone on with: {_how_to_go_on(folder, manifest)}")
        raise
    except BaseException as err:
        kept = any((folder / CHECKPOINTS).glob("*.npz")) and not isinstance(err, DivergedError)
        if created and not kept:
            shutil.rmtree(folder, ignore_errors=True)
        elif kept and not isinstance(err, CheckpointError):
            progress.say(f"What was trained is kept. Go on with: {_how_to_go_on(folder, manifest)}")
        raise
    if manifest["schedule"]["interrupted"]:
        progress.say(f"Stopped early. Go on with: {_how_to_go_on(folder, manifest)}")
    else:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _how_to_go_on(folder: Path, manifest: dict[str, Any]) -> str:
    """Returns what to type. The command line has no arrays."""
    if manifest["data"]["kind"] == "arrays":
        return f"tlkit.resume({folder.name!r}, x=the same array) in Python"
    return f"tlkit finetune --resume --name {folder.name}"
