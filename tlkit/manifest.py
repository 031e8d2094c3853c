"""Contract 1: the run folder and its manifest. Reads, checks and writes; trains and converts nothing."""

import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlkit.errors import RunError, did_you_mean
from tlkit.manifest_fields import FIELDS, PARTS

SCHEMA = 1
DEFAULT_RUNS = Path("runs")
NAME = "run.json"
CHECKPOINTS = "checkpoints"
ARTIFACTS = "artifacts"
# Beside the runs, or anything else that is locked: locks, and files that are being written.
HIDDEN = ".tlkit"
MAX_BYTES = 256 * 2**20  # of a manifest; a million photos need about 150 MiB
_REPAIR = "Restore it from a copy, or train again."

# Devices that Windows opens whatever the folder, and what no file system or shell takes kindly.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}
_FORBIDDEN = set('/\\:*?"<>|')


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path; renames it to `path` when the block ends well, else removes it.

    A killed process so leaves a whole file or none. What it was writing lies beside the run folder, not in it, and is
    swept away later.
    """
    temporary = staging(path) / f".{path.stem}.{os.getpid()}.{secrets.token_hex(3)}{path.suffix}"
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())  # or a power failure could leave an empty file under the new name
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def hidden_place(folder: Path) -> Path:
    """Returns where locks and unfinished files of a folder are: beside it, or inside where that can't be written."""
    return (folder.parent if os.access(folder.parent, os.W_OK) or not folder.exists() else folder) / HIDDEN


def staging(path: Path) -> Path:
    """Returns where a file is written before it gets its name: on the same file system, outside of a run's contents."""
    run = next((folder for folder in path.parents if (folder / NAME) == path or (folder / NAME).is_file()), None)
    if run is None or run.is_symlink():
        return path.parent
    place = hidden_place(run)
    if run.stat().st_dev != place.parent.stat().st_dev:
        return path.parent
    place.mkdir(exist_ok=True)
    return place


def sweep(runs: Path) -> None:
    """Removes what killed processes were writing for the runs in a folder, a day later."""
    for left in (runs / HIDDEN).glob(".*"):
        with suppress(OSError):
            # Not the time of the contents: a second name of an old file is new.
            if left.suffix != ".lock" and time.time() - left.stat().st_ctime > 24 * 3600:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes an OSError name `path`. That of a full disk names nothing, that of a rename the temporary file."""
    try:
        yield
    except OSError as err:
        if err.filename is None or Path(os.fsdecode(err.filename)).parent in (path.parent, staging(path)):
            err.filename, err.filename2 = str(path), None
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with naming(path), replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_run(runs: Path, name: str | None, *, base: str, data: str) -> Path:
    """Makes the folder of a new run: `runs/<time>-<base>-<data>/`, or `runs/<name>/`.

    Raises:
        RunError: the name is not a plain folder name, or the folder exists, or can't be made.
    """
    stem = check_name(name) if name is not None else f"{datetime.now():%Y%m%d-%H%M%S}-{_plain(base)}-{_plain(data)}"
    for attempt in range(1, 100):
        folder = runs / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if name is None and folder.is_dir():  # two runs within a second
                continue
            if is_empty(folder):
                return folder
            raise RunError(f"{folder} exists already. Choose another --name, or remove that folder.") from None
        except OSError as err:
            raise RunError(f"Can't make the run folder {folder}: {err.strerror}. Choose another place: --runs") from err
        return folder
    raise RunError(f"{runs / stem} exists already, a hundred times over. Choose a --name.")


def is_empty(folder: Path) -> bool:
    """Whether a process was killed before it wrote anything into the folder that it had made."""
    return folder.is_dir() and not any(folder.iterdir())


def check_place(runs: Path, name: str | None) -> None:
    """Finds out before any work whether `create_run` could succeed.

    Raises:
        RunError: as `create_run`.
    """
    if name is not None and (runs / check_name(name)).exists() and not is_empty(runs / name):
        raise RunError(f"{runs / name} exists already. Choose another --name, or remove that folder.")
    existing = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        reason = "no permission to write" if existing.is_dir() else "not a folder"
        raise RunError(f"Can't make runs in {runs}: {existing}: {reason}. Choose another place: --runs")


def check_name(name: str) -> str:
    """Returns `name` if it is one plain folder name.

    Raises:
        RunError: it has separators or characters that some file system refuses, is hidden, or too long.
    """
    bad = _FORBIDDEN & set(name) or any(ord(c) < 32 for c in name)
    if (
        not name
        or bad
        or name.startswith(".")
        or name.rstrip(" .") != name
        or name.lower() in _RESERVED
        or len(name) > 100
    ):
        raise RunError(
            f"{name!r} can't be the name of a run. Use up to 100 letters, digits, '-', '_' and '.', "
            "not starting with a dot; the place is given with --runs."
        )
    return name


def _plain(name: str) -> str:
    """Makes a folder's name fit for being part of a run's name."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)[:40].strip("-") or "data"


def new_manifest(**values: Any) -> dict[str, Any]:  # noqa: ANN401
    """Returns a manifest with status `running`, its parts that come later empty."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    empty: dict[str, Any] = {"parent": None, "compression": None, "metrics": {}, "artifacts": []}
    return {"schema": SCHEMA, "status": "running", "created": now, "task": "single_label", **empty, **values}


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Checks and writes `run.json`, whole or not at all."""
    _check(manifest, folder / NAME)
    write_json(folder / NAME, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads and checks `run.json`.

    Raises:
        RunError: there is none, it is broken, or a newer tlkit wrote it.
    """
    path = folder / NAME
    try:
        _check_file(path)
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} is not a run: it has no {NAME}. Runs are made with: tlkit finetune") from None
    except NotADirectoryError:
        raise RunError(f"{folder} is a file, and a run is a folder. Runs are made with: tlkit finetune") from None
    except OSError as err:
        raise RunError(f"Can't read {path}: {err.strerror}.") from err
    except RecursionError:
        raise RunError(f"{path} is broken (nested too deeply). {_REPAIR}") from None
    except ValueError as err:
        raise RunError(f"{path} is broken ({err}). {_REPAIR}") from err
    _check(manifest, path)
    return manifest


def _check_file(path: Path) -> None:
    """Refuses what must not be read at all: it could wait for ever, or fill the memory."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise RunError(f"{path} is broken: it is not a file. {_REPAIR}")
    if about.st_size > MAX_BYTES:
        size, limit = (n // 2**20 for n in (about.st_size, MAX_BYTES))
        raise RunError(f"{path} is broken: it has {size} MiB, and no manifest has more than {limit}. {_REPAIR}")


def _check(manifest: object, path: Path) -> None:
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise RunError(f"{path} is not a manifest of tlkit: it has no schema number.")
    if schema > SCHEMA:
        raise RunError(
            f"{path} was written by a newer tlkit (schema {schema}, this one reads {SCHEMA}). "
            "Upgrade with: pip install --upgrade tlkit"
        )
    for field, types in FIELDS.items():
        if field not in manifest:
            raise RunError(f"{path} is broken: it has no {field!r}. {_REPAIR}")
        if not isinstance(manifest[field], types):
            raise RunError(f"{path} is broken: {field!r} is of type {type(manifest[field]).__name__}. {_REPAIR}")
    for part, problem_of in PARTS.items():
        if problem := problem_of(manifest):
            raise RunError(f"{path} is broken: {part!r} is not whole, {problem}. {_REPAIR}")


def find_run(run: str | Path | None, runs: Path = DEFAULT_RUNS) -> Path:
    """Returns the folder of a complete run: a path, a name inside `runs`, or (None) the newest.

    Raises:
        RunError: no such run, or it is not complete.
    """
    folder = newest_run(runs) if run is None else locate_run(run, runs)
    status = read_manifest(folder)["status"]
    if status != "complete":
        raise RunError(
            f"The run {folder} is not complete (its status: {status}). Go on with it: tlkit finetune --resume --name "
            f"{folder.name}; or name another run."
        )
    return folder


def run_folders(runs: Path) -> list[Path]:
    """Lists the folders inside `runs`, sorted by name; hidden ones hold locks and unfinished files."""
    if not runs.is_dir():
        return []
    return sorted(path for path in runs.iterdir() if path.is_dir() and not path.name.startswith("."))


def locate_run(run: str | Path, runs: Path) -> Path:
    """Returns the folder of a run of any status, even a broken one: a path, or a name inside `runs`.

    Raises:
        RunError: there is no such folder.
    """
    folders = [path for path in (Path(run), runs / run) if path.is_dir()]
    if not folders:
        if file := next((path for path in (Path(run), runs / run) if path.is_file()), None):
            raise RunError(f"{file} is a file. Name the folder of a run, or its name in {runs}/.")
        known = [path.name for path in run_folders(runs)]
        raise RunError(f"There is no run {str(run)!r}, here or in {runs}/.{did_you_mean(str(run), known)}")
    return next((path for path in folders if (path / NAME).exists()), folders[0])


def newest_run(runs: Path = DEFAULT_RUNS) -> Path:
    """Returns the complete run that was begun last. Unfinished and broken ones are passed over.

    Raises:
        RunError: there is none.
    """
    complete, others = [], 0
    for folder in run_folders(runs):
        try:
            manifest = read_manifest(folder)
        except RunError:
            others += 1
            continue
        if manifest["status"] == "complete":
            complete.append((manifest["created"], folder))
        else:
            others += 1
    if not complete:
        unfinished = f" ({others} unfinished or broken)" if others else ""
        raise RunError(f"There is no complete run in {runs.absolute()}{unfinished}. Make one with: tlkit finetune")
    return max(complete)[1]
