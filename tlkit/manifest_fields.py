"""What a manifest must hold, field by field, and what is wrong with one that does not."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tlkit.names import class_name_problem, path_problem

SINGLE_LABEL, MULTI_LABEL = "single_label", "multi_label"

# What a manifest must hold, and of which type. `None` where a part is empty until the run is complete.
FIELDS: dict[str, tuple[type, ...]] = {
    "schema": (int,),
    "status": (str,),
    "created": (str,),
    "task": (str,),
    "command": (str,),
    "seed": (int,),
    "versions": (dict,),
    "base": (str,),
    "head": (str,),
    "stages": (list,),
    "weights": (dict,),
    "freeze": (dict,),
    "schedule": (dict,),
    "parent": (dict, str, type(None)),
    "compression": (dict, type(None)),
    "classes": (list,),
    "preprocess": (dict,),
    "data": (dict,),
    "split": (dict,),
    "metrics": (dict,),
    "artifacts": (list,),
}


def _classes_problem(manifest: dict[str, Any]) -> str | None:
    classes = manifest["classes"]
    if len(classes) < 2:
        return f"it has {len(classes)} entries, and a classifier needs at least 2"
    for name in classes:
        if not isinstance(name, str):
            return f"{name!r} is no name"
        if problem := class_name_problem(name):
            return f"the name {name!r} {problem}"
    twice = [name for name, count in Counter(classes).items() if count > 1]
    return f"the name {twice[0]!r} is there twice" if twice else None


def _data_problem(manifest: dict[str, Any]) -> str | None:
    return None if isinstance(manifest["data"].get("root"), str) else "it has no root"


def _split_problem(manifest: dict[str, Any]) -> str | None:
    count = len(manifest["classes"])
    several = manifest["task"] == MULTI_LABEL
    for part in ("train", "val", "test"):
        photos = manifest["split"].get(part)
        if not isinstance(photos, list):
            return f"it has no list {part!r}"
        for photo in photos:
            if problem := _photo_problem(photo, count, "labels" if several else "label"):
                return f"in {part!r}, {problem}"
    return None


def _photo_problem(photo: Any, classes: int, key: str) -> str | None:  # noqa: ANN401
    if not isinstance(photo, dict) or set(photo) != {"path", key, "sha256"}:
        return f"an entry is not a photo with path, {key} and sha256"
    path, given, digest = photo["path"], photo[key], photo["sha256"]
    if not isinstance(path, str) or not isinstance(digest, str):
        return "the path or sha256 of a photo is no text"
    if problem := path_problem(path):
        return f"the path {path!r} {problem}"
    if key == "labels" and (not isinstance(given, list) or len(set(map(repr, given))) < len(given)):
        return f"the labels {given!r} of {path!r} are no list, or hold one twice"
    for label in given if key == "labels" else [given]:
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < classes:
            return f"the label {label!r} of {path!r} is not from 0 to {classes - 1}"
    return None


def _task_problem(manifest: dict[str, Any]) -> str | None:
    task = manifest["task"]
    return None if task in (SINGLE_LABEL, MULTI_LABEL) else f"it is {task!r}, not {SINGLE_LABEL} or {MULTI_LABEL}"


def thresholds_problem(thresholds: Any, classes: int) -> str | None:  # noqa: ANN401
    """Returns what is wrong with thresholds, which must be one number from 0 to 1 for each class, or None."""
    if not isinstance(thresholds, list) or len(thresholds) != classes:
        return f"it is no list of {classes} numbers"
    if wrong := [one for one in thresholds if type(one) not in (int, float) or not 0 <= one <= 1]:
        return f"{wrong[0]!r} is not from 0 to 1"
    return None


def thresholds_of(about: dict[str, Any]) -> list[float]:
    """Returns the thresholds that a manifest with several labels, or its artifact, names; else 0.5 for each class."""
    return about.get("thresholds", [0.5] * len(about["classes"]))


def _thresholds_problem(manifest: dict[str, Any]) -> str | None:
    if "thresholds" not in manifest:  # of one label, or not trained yet
        return None
    return thresholds_problem(manifest["thresholds"], len(manifest["classes"]))


def _artifacts_problem(manifest: dict[str, Any]) -> str | None:
    for entry in manifest["artifacts"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            return "an entry has no path"
        if problem := path_problem(entry["path"]):
            return f"the path {entry['path']!r} {problem}"
    return None


# What later commands rely on inside those: each returns what is wrong, or None.
PARTS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "task": _task_problem,
    "classes": _classes_problem,
    "thresholds": _thresholds_problem,
    "data": _data_problem,
    "split": _split_problem,
    "artifacts": _artifacts_problem,
}
