"""Growing: a run goes on with more photos, or with classes that it did not know. `tlkit.data.more` joins the photos."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.data.discover import discover
from tlkit.data.more import Grown, grown
from tlkit.errors import DataError, OptionError, RunError, some
from tlkit.manifest import find_run, read_manifest, sha256_of
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.transfer.options import DIGITS, FinetuneOptions
from tlkit.transfer.plans import Plan
from tlkit.transfer.record import check_base

MODEL = "model.keras"
# What is the run's and can't be another: its model is gone on with.
FIXED = ("base", "base_input", "width", "head", "head_width", "dropout", "weights")


def inherit(options: FinetuneOptions) -> FinetuneOptions:
    """Returns options with what comes from the run that is gone on from.

    Raises:
        RunError: there is no such run, it is not complete, or is of a kind that can't grow.
        OptionError: an option that contradicts the run, or no more photos.
    """
    assert options.parent is not None
    if str(options.data) == DIGITS:
        raise OptionError("--from needs more photos. Name their folder with --data MORE.")
    folder = find_run(options.parent, options.runs).absolute()
    manifest = read_manifest(folder)
    if options.multi_label:
        raise OptionError("--from grows runs on photos with one label each. Leave out --multi-label.")
    _check_kind(folder, manifest)
    recorded = manifest.get("options", {})
    spec = PreprocessSpec.from_dict(manifest["preprocess"])
    if "base" not in recorded or spec != PreprocessSpec(input_size=spec.input_size, decode=spec.decode):
        raise RunError(
            f"{folder} was made by another version of tlkit ({manifest['versions'].get('tlkit')}), which prepares "
            "photos in another way. Go on with that one, or train again."
        )
    theirs = {name: recorded.get(name) for name in FIXED}
    theirs |= {"head": manifest["head"], "input_size": spec.input_size, "decode": spec.decode}
    theirs["head_width"] = theirs["head_width"] or None
    # Their defaults can't be told from what was given, and say nothing.
    said = options.to_dict() | {"head_width": options.head_width or None}
    said["decode"] = None if options.decode == FinetuneOptions.decode else options.decode
    for name, value in theirs.items():
        given = said[name]
        if given is not None and str(given) != str(value):
            flag = f"--{name.replace('_', '-')}"
            was = f"has {flag} {value}" if value is not None else f"was begun without {flag}"
            raise OptionError(
                f"{flag} {given} contradicts --from: {folder.name} {was}, and its model is gone on with. Leave {flag} "
                "out, or train anew without --from."
            )
    freeze = options.freeze or strategy_for(manifest["freeze"], new_classes=False)
    theirs["weights"] = None  # they are the run's own
    theirs["head_width"] = theirs["head_width"] or FinetuneOptions.head_width
    return replace(options, **theirs, parent=str(folder), freeze=freeze)


def _check_kind(folder: Path, manifest: dict[str, Any]) -> None:
    if not (folder / MODEL).is_file():
        raise RunError(f"{folder / MODEL} is missing. Restore it from a copy, or train again.")
    if manifest["task"] != "single_label":
        raise RunError(f"{folder} can't grow: its photos have several labels each. Train again with all photos.")
    if manifest["data"].get("kind") not in ("classes", "splits", "digits"):
        raise RunError(f"{folder} can't grow: it was not trained on a folder of photos. Train again with all photos.")
    if manifest["compression"] is not None:
        raise RunError(f"{folder} can't grow: its model is compressed, and training would undo that. Grow its parent.")


def strategy_for(freeze: dict[str, Any], *, new_classes: bool) -> str:
    """Returns the strategy that goes on from a run.

    With the same classes it is the run's own, without the epochs for a head that is no longer random. With new ones
    these epochs come first.

    Args:
        freeze: Of the run's manifest.
        new_classes: Whether there are any.
    """
    chosen = freeze.get("chosen") or {}
    text = str(chosen.get("strategy") or freeze["strategy"]).removeprefix("head-then:")
    begins_with_head = text == "all-but-head" or text.startswith("gradual")
    return f"head-then:{text}" if new_classes and not begins_with_head else text


def read_more(options: FinetuneOptions, progress: Progress) -> Grown:
    """Finds, checks and splits the new photos, and joins them with the run's.

    Raises:
        DataError: see `discover` and `tlkit.data.more.grown`.
        OptionError: `classes` does not agree with what is there.
    """
    manifest = read_manifest(Path(str(options.parent)))
    root = Path(options.data).expanduser()
    if root.is_file():
        raise DataError(
            f"{root} is a file, and --from takes more photos from a folder alone. Give --data a folder with one "
            "folder of photos per class."
        )
    more = discover(root, strict=options.strict, least=1, progress=progress)
    found = grown(manifest, more, old_root=options.parent_data, seed=options.seed)
    count = len(found.photos.classes)
    if options.classes is not None and options.classes != count:
        raise OptionError(
            f"--classes {options.classes} was given, but with {root} there are {count}: "
            f"{some(found.photos.classes, 12)}. Leave --classes out, or check --data."
        )
    progress.say(
        f"{found.added} photos are new; {found.known} in {root} the run had, in train, val or test, and stay so"
    )
    if found.corrected:
        progress.say(f"{found.corrected} photos of the run lie in the folder of another class now: they get that one")
    if found.new_classes:
        progress.say(f"New classes, behind the old ones: {some(found.new_classes, 12)}")
    return found


def settle(options: FinetuneOptions, found: Grown, *, given: str | None) -> FinetuneOptions:
    """Decides the strategy now that it is known whether there are new classes; `given` is the user's."""
    if given is not None or not found.new_classes:
        return options
    freeze = read_manifest(Path(str(options.parent)))["freeze"]
    return replace(options, freeze=strategy_for(freeze, new_classes=True))


def check_parent(options: FinetuneOptions, decided: Plan) -> None:
    """Checks that the run's architecture is still what this tlkit builds.

    Raises:
        RunError: its stages are others.
        BaseError: its base is a file that has changed.
    """
    folder = Path(str(options.parent))
    manifest = read_manifest(folder)
    check_base(folder, manifest, decided)
    if manifest["stages"] != list(decided.architecture.stages):
        raise RunError(
            f"{folder} was made by another version of tlkit ({manifest['versions'].get('tlkit')}), in which "
            f"{manifest['base']} has other stages. Go on with that one, or train again."
        )


def parent_entry(options: FinetuneOptions, found: Grown) -> dict[str, Any]:
    """Returns the manifest's `parent`."""
    folder = Path(str(options.parent))
    manifest = read_manifest(folder)
    return {
        "run": folder.name,
        "folder": str(folder),
        "created": manifest["created"],
        "model_sha256": sha256_of(folder / MODEL),
        "classes": len(manifest["classes"]),
        "new_classes": list(found.new_classes),
        "added": found.added,
        "known": found.known,
        "corrected": found.corrected,
    }


def data_name(parent: dict[str, Any], more: str) -> str:
    """Returns what the data of a grown run is called: the folder of both would say little."""
    data = parent["data"]
    old = "digits" if data["kind"] == "digits" else data.get("name") or Path(data["root"]).name
    new = Path(more).expanduser().resolve().name
    return old if new == old else f"{old}+{new}"


def remembered(folder: Path, manifest: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Returns the metrics of a grown run, with what became of the photos that its parent was tested on.

    Those are `old_classes` of `test` (of `val`, where the parent had no test): the accuracy on the parent's held-out
    photos before and after, and how many the parent got right and this run does not, and the other way round.

    Args:
        folder: Of the run, `predictions.npz` written.
        manifest: With `parent` and `metrics`.
        progress: Says it.
    """
    metrics: dict[str, Any] = manifest["metrics"]
    parent = manifest["parent"]
    before = _predicted(Path(parent["folder"]))
    if before is None or before["model_sha256"] != parent["model_sha256"]:
        progress.warn(f"Nothing tells what was forgotten: the predictions of {parent['folder']} are gone.")
        return metrics
    part = "test" if "test" in before["split"] else "val"
    after = _predicted(folder)
    assert after is not None  # just written
    row_of = {sha256: row for row, sha256 in enumerate(after["sha256"])}
    old = [row for row, name in enumerate(before["split"]) if name == part and before["sha256"][row] in row_of]
    new = [row_of[before["sha256"][row]] for row in old]
    if not old:
        return metrics
    labels = after["labels"][new]  # those of today: some may have been corrected
    was = before["probabilities"][old].argmax(axis=1) == labels
    now = after["probabilities"][new].argmax(axis=1) == labels
    found = {
        "images": len(old),
        "before": float(was.mean()),
        "accuracy": float(now.mean()),
        "forgotten": int(np.sum(was & ~now)),
        "learned": int(np.sum(now & ~was)),
    }
    progress.say(f"Old classes, on the {part} photos of {parent['run']}: {remembered_text(found)}")
    return {**metrics, part: {**metrics[part], "old_classes": found}}


def remembered_text(found: dict[str, Any]) -> str:
    """Returns `old_classes` of a manifest's metrics in words."""
    return (
        f"{found['accuracy']:.1%} of {found['images']} right, {found['before']:.1%} before "
        f"({found['forgotten']} forgotten, {found['learned']} learned)"
    )


def _predicted(folder: Path) -> dict[str, Any] | None:
    """Returns what `predictions.npz` of a run holds, or None where there is none that can be read."""
    try:
        with np.load(folder / "predictions.npz", allow_pickle=False) as saved:
            found = {name: saved[name] for name in ("probabilities", "labels", "sha256", "split", "model_sha256")}
    except (OSError, KeyError, ValueError, EOFError):
        return None
    return {**found, "model_sha256": str(found["model_sha256"])}
