"""What a run records of its training when it begins, and what is read back when it goes on."""

import hashlib
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit import __version__
from tlkit.data.arrays import VERIFICATION, again
from tlkit.data.digits import digits_folder
from tlkit.data.discover import Photo, Problem
from tlkit.data.multi_label import labels_of
from tlkit.data.origin import Origin
from tlkit.data.recorded import find_again, photos_of
from tlkit.data.split import PhotoSet
from tlkit.errors import BaseError, OptionError, RunError, did_you_mean
from tlkit.lock import is_held
from tlkit.manifest import check_name, is_empty, new_manifest, read_manifest, run_folders
from tlkit.manifest_fields import MULTI_LABEL, SINGLE_LABEL
from tlkit.transfer.backend import versions
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import Plan

if TYPE_CHECKING:
    from tlkit.transfer.job import Prepared


def _is_command() -> bool:
    """Whether this process is the command line, as `tlkit` or `python -m tlkit`."""
    program = Path(sys.argv[0])
    return "tlkit" in (program.stem, program.parent.name)


def new_record(prepared: "Prepared") -> dict[str, Any]:
    """Returns the manifest of a training that begins."""
    options, decided, photos = prepared.options, prepared.decided, prepared.photos
    everything = photos.train + photos.held_out
    lines = sorted(f"{photo.path}\t{_names(photo, photos.classes)}\t{photo.sha256}\n" for photo in everything)
    return new_manifest(
        task=MULTI_LABEL if photos.multi_label else SINGLE_LABEL,
        command=shlex.join(["tlkit", *sys.argv[1:]]) if _is_command() else "tlkit.finetune",
        options=options.to_dict(),
        seed=options.seed,
        versions={
            "tlkit": __version__,
            "python": platform.python_version(),
            **versions(),
        },
        base=decided.architecture.name,
        base_options=_base_options(decided),
        head=decided.head,
        stages=list(decided.architecture.stages),
        weights=prepared.weights,
        freeze=decided.to_freeze(),
        precision=prepared.precision.to_dict(),
        schedule={},
        classes=list(photos.classes),
        preprocess=prepared.spec.to_dict(),
        data={
            "kind": photos.kind if decided.own_data else str(options.data),
            **({} if photos.origin is None else vars(photos.origin)),
            "root": photos.recorded_root,
            "fingerprint": hashlib.sha256("".join(lines).encode()).hexdigest(),
            "images": len(everything),
            "left_out": [vars(problem) for problem in photos.problems],
        },
        split=photos.to_split(),
    )


def _names(photo: Photo, classes: Sequence[str]) -> str:
    return "|".join(classes[label] for label in labels_of(photo))


def _base_options(decided: Plan) -> dict[str, Any]:
    """Returns what else is needed to build the base again: its width, or where a foreign one came from."""
    return {**decided.builder, **(decided.architecture.options if decided.architecture.foreign else {})}


def check_base(folder: Path, manifest: dict[str, Any], decided: Plan) -> None:
    """Checks that the base is what the run was begun with.

    Raises:
        BaseError: its file has changed.
    """
    if manifest.get("base_options", {}).get("sha256") != _base_options(decided).get("sha256"):
        raise BaseError(
            f"The model that {folder} was begun with has changed: {decided.architecture.options['base']}. Put that "
            "file back, or train again."
        )


def unfinished(manifest: dict[str, Any]) -> bool:
    """Whether a run can be gone on with: its process ended before its training did."""
    return manifest["status"] != "complete" or bool(manifest["schedule"].get("interrupted"))


def find_unfinished(name: str | None, runs: Path) -> Path:
    """Returns the run called `name`, or (None) the newest that is not done and that nobody is training.

    Raises:
        RunError: there is none.
    """
    if name is not None:
        folder = runs / check_name(name)
        if not folder.is_dir() or is_empty(folder):
            known = [path.name for path in run_folders(runs)]
            raise RunError(f"There is no run {name!r} in {runs}/ to go on with.{did_you_mean(name, known)}")
        return folder
    found = []
    for folder in run_folders(runs):
        try:
            manifest = read_manifest(folder)
        except RunError:
            continue
        if unfinished(manifest) and not is_held(folder):
            found.append((manifest["created"], folder))
    if not found:
        raise RunError(
            f"There is no unfinished run in {runs.absolute()} to go on with. Begin one with: tlkit finetune --base NAME"
        )
    return max(found)[1]


def can_resume(name: str | None, runs: Path) -> bool:
    """Whether `find_unfinished` would find a run."""
    try:
        find_unfinished(name, runs)
    except RunError:
        return False
    return True


def recorded_options(folder: Path, manifest: dict[str, Any], given: dict[str, Any]) -> FinetuneOptions:
    """Returns the options a run was begun with.

    Raises:
        OptionError: an option was given again, and differently.
        RunError: another version of tlkit began the run.
    """
    options = FinetuneOptions.from_dict(manifest.get("options", {}))
    for name, value in FinetuneOptions(**{"base": options.base, **given}).to_dict().items():
        if name in given and value != (before := getattr(options, name)):
            flag = {"cache": "--no-cache", "parent": "--from"}.get(name, f"--{name.replace('_', '-')}")
            unset = before is None or before is False or name == "cache"
            was = f"without {flag}" if unset else f"with {flag} {before}, not {value}"
            raise OptionError(
                f"{folder} was begun {was}. Leave {flag} out to go on with it, or leave --resume out to begin anew."
            )
    return options


def recorded_photos(
    folder: Path,
    manifest: dict[str, Any],
    decided: Plan,
    data: str | None,
    x: Any = None,  # noqa: ANN401
) -> PhotoSet:
    """Returns the photos of a run as it split them, every file's hash checked.

    Args:
        folder: The run.
        manifest: Its manifest.
        decided: Its plan.
        data: Where the photos are now, if they have moved.
        x: The images of a run that was begun from arrays.

    Raises:
        DataError: some are missing or changed.
        OptionError: `data` for a run on the embedded digits, or no `x` for one from arrays.
        RunError: the run was stopped before it had kept anything.
    """
    splits = {name: photos_of(manifest, name) for name in ("train", "val", "test")}
    recorded = manifest["options"]["data"]
    if not decided.own_data and data not in (None, recorded):
        raise OptionError(
            f"The unfinished run was begun on the embedded digits, not on {data}. Leave --data out to go on with it, "
            "or leave --resume out to begin anew."
        )
    # The cache that holds the digits may have been cleared, or moved.
    moved = str(digits_folder()) if not decided.own_data else data if data != recorded else None
    trained: list[Photo] = []
    if manifest["data"]["kind"] == "arrays":
        trained, splits["train"] = _from_arrays(folder, splits["train"], x), []
    root, found = find_again(manifest, [photo for part in splits.values() for photo in part], moved, run=folder)
    rest = iter(found)
    train, val, test = (tuple(next(rest) for _ in part) for part in splits.values())
    return PhotoSet(
        root=root,
        kind="classes" if manifest["data"]["kind"] == "classes" else "splits",
        classes=tuple(manifest["classes"]),
        train=(*trained, *train),
        val=val,
        test=test,
        problems=tuple(Problem(**problem) for problem in manifest["data"]["left_out"]),
        origin=_origin(manifest["data"]),
    )


def _from_arrays(folder: Path, photos: list[Photo], x: Any) -> list[Photo]:  # noqa: ANN401
    if x is None:
        raise OptionError(
            f"{folder} was begun from arrays, which no run keeps. Go on with it in Python: "
            f"tlkit.resume({folder.name!r}, x=the same array)"
        )
    if not (folder / VERIFICATION).is_dir():
        raise RunError(f"{folder} was stopped before it kept its images. Remove it, and begin anew.")
    return again(photos, x)


def _origin(data: dict[str, Any]) -> Origin | None:
    return Origin(kind=data["kind"], source=data["source"]) if "source" in data else None
