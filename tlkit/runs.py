"""Lists and removes run folders."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlkit.errors import RunError, TlkitError, did_you_mean
from tlkit.lock import is_held
from tlkit.manifest import NAME, is_empty, locate_run, read_manifest
from tlkit.sizes import bytes_in


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One folder inside `runs/`.

    Attributes:
        folder: Its path.
        about: `summary` of its manifest; None when that can't be used.
        problem: Why it can't; None when it can.
        created: When the run was begun, in ISO form and UTC; for a broken one, when its folder last changed.
        bytes: Of all its files.
    """

    folder: Path
    about: dict[str, Any] | None
    problem: str | None
    created: str
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Returns what `tlkit runs --json` prints."""
        about = self.about or {"status": "broken", "problem": self.problem}
        return {"run": str(self.folder), "created": self.created, "bytes": self.bytes, **about}


def list_runs(runs: Path) -> list[ListedRun]:
    """Returns every run, newest first, broken ones with the reason. A name that begins with a dot is no run."""
    folders = [path for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    listed = [_listed(folder) for folder in folders if not folder.name.startswith(".")]
    return sorted(listed, key=lambda run: (run.created, run.folder.name), reverse=True)


def _listed(folder: Path) -> ListedRun:
    about, problem, changed = None, None, datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    try:
        manifest = read_manifest(folder)
        created = datetime.fromisoformat(manifest["created"]).astimezone(UTC)
        about = summary(manifest)
    except RunError as err:
        problem, created = str(err), changed
    except (ValueError, TypeError, AttributeError, KeyError) as err:  # a part that validation does not look into
        problem, created = f"{folder / NAME} is broken ({err}). Restore it from a copy, or train again.", changed
    return ListedRun(
        folder=folder,
        about=about,
        problem=problem,
        created=created.isoformat(timespec="microseconds"),
        bytes=bytes_in(folder),
    )


def summary(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns what a list of runs shows of a manifest; a part that this run does not have is None."""
    data, metrics = manifest["data"], manifest["metrics"]
    split = next((name for name in ("test", "val") if metrics.get(name)), None)
    return {
        "status": manifest["status"],
        "base": manifest["base"],
        "data": data["kind"]
        if data.get("kind") in ("digits", "arrays")
        else data.get("name") or Path(data.get("source") or data["root"]).name,
        "accuracy": metrics[split].get("accuracy") if split else None,
        "accuracy_of": split,
        **({"map": metrics[split]["map"]} if split and "map" in metrics[split] else {}),
        "photos": sum(len(photos) for photos in manifest["split"].values()),
        "artifacts": [Path(entry["path"]).name for entry in manifest["artifacts"]],
    }


def run_to_show(run: str | None, runs: Path) -> Path:
    """Returns the folder of a run of any status: a path, a name inside `runs`, or (None) the newest that can be read.

    Raises:
        RunError: there is none.
    """
    if run is not None:
        return locate_run(run, runs)
    readable = [listed.folder for listed in list_runs(runs) if listed.about]
    if not readable:
        raise RunError(f"There is no run in {runs.absolute()}. Make one with: tlkit finetune")
    return readable[0]


def runs_to_remove(names: tuple[str, ...], runs: Path) -> list[Path]:
    """Returns the folders of runs, each once; nothing is removed yet.

    Raises:
        RunError: one of them is no run, is a link, or is being trained right now.
    """
    return list(dict.fromkeys(_removable(name, runs) for name in names))


def _removable(name: str, runs: Path) -> Path:
    folder = locate_run(name, runs)
    if folder.is_symlink():
        raise RunError(
            f"{folder} is a link to {folder.resolve()}. Nothing is removed through links: name the run itself."
        )
    folder = folder.resolve()
    begun = is_empty(folder) and folder.parent == runs.resolve()  # and killed before its record was written
    if not ((folder / NAME).is_file() or begun) or folder.name.startswith("."):
        known = [listed.folder.name for listed in list_runs(runs) if (listed.folder / NAME).is_file()]
        raise RunError(
            f"{folder} is no run: it has no {NAME}, so nothing was removed.{did_you_mean(folder.name, known)} "
            "See the runs with: tlkit runs"
        )
    if is_held(folder):
        raise RunError(f"The run {folder} is being trained right now. Stop the training first, or wait for its end.")
    return folder


def remove_run(folder: Path) -> int:
    """Removes a run folder and returns how many bytes that freed. Links inside are removed, never followed.

    The manifest goes last: what an interruption leaves is still a run, and can be removed again.

    Raises:
        TlkitError: a file can't be removed.
    """
    size = bytes_in(folder)
    try:
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != NAME:
                path.unlink()
        (folder / NAME).unlink(missing_ok=True)
        folder.rmdir()
    except OSError as err:
        raise TlkitError(f"{folder} could not be removed completely: {err.strerror}: {err.filename}.") from err
    return size
