"""The user's cache folder: what can be made again. `TLKIT_CACHE` moves it.

digits-v1/                               the embedded photos
tfrecord-<key>/                          photos that were unpacked from TFRecord files
features/<key>/{features.npy,about.json} the output of frozen stages; the folder's time is that of its last use
features/<key>.partial/                  of a pass that was interrupted
features/.tlkit/<key>.lock               held by the process that is computing them
settings.json                            the limit, when the user has set one
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs

from tlkit.errors import RunError, TlkitError
from tlkit.lock import exclusive, is_held
from tlkit.manifest import write_json
from tlkit.sizes import bytes_in, size_text

# Without a setting: this, or half of the disk that the cache leaves free, whichever is smaller.
LIMIT_BYTES = 32 * 2**30
_SETTINGS = "settings.json"
# Nothing but these is ever counted or removed: TLKIT_CACHE may name a folder that holds other things.
_FEATURES = re.compile(r"[0-9a-f]{64}")
_PARTIAL = re.compile(r"([0-9a-f]{64})\.partial")
_TEMPORARY = re.compile(r"\.(digits-v\d+|tfrecord-[0-9a-f]+|[0-9a-f]{16})\.(?P<pid>\d+)\.[0-9a-f]{6}")
_DIGITS = re.compile(r"digits-v\d+")
_RECORDS = re.compile(r"tfrecord-[0-9a-f]{16}")
Kind = Literal["digits", "tfrecord", "features", "unfinished"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing in the cache.

    Attributes:
        path: Its folder.
        kind: What it holds; `unfinished` is what an interrupted process left.
        bytes: Of all its files.
        used: When it was last used, in seconds since 1970.
        in_use: Whether a process is working on it right now.
        about: What `about.json` says; empty when there is none.
    """

    path: Path
    kind: Kind
    bytes: int
    used: float
    in_use: bool
    about: dict[str, Any]


def cache_folder() -> Path:
    """Returns the cache folder; it need not exist yet."""
    return Path(os.environ.get("TLKIT_CACHE") or platformdirs.user_cache_dir("tlkit"))


def entries() -> list[Entry]:
    """Returns what is in the cache, the most recently used first."""
    return sorted(_entries(), key=lambda entry: entry.used, reverse=True)


def _entries() -> Iterator[Entry]:
    for folder in (cache_folder(), cache_folder() / "features"):
        for path in folder.iterdir() if folder.is_dir() else ():
            kind = _kind(path)
            if kind is None:
                continue
            try:
                used = path.lstat().st_mtime
            except FileNotFoundError:  # another process was faster
                continue
            about = _read_object(path / "about.json")
            yield Entry(path=path, kind=kind, bytes=bytes_in(path), used=used, in_use=in_use(path), about=about)


def _kind(path: Path) -> Kind | None:
    if _TEMPORARY.fullmatch(path.name):
        return "unfinished"
    if path.parent.name != "features":
        photos: dict[Kind, re.Pattern[str]] = {"digits": _DIGITS, "tfrecord": _RECORDS}
        return next((kind for kind, named in photos.items() if named.fullmatch(path.name)), None)
    if _PARTIAL.fullmatch(path.name):
        return "unfinished"
    return "features" if _FEATURES.fullmatch(path.name) else None


def in_use(path: Path) -> bool:
    """Whether a live process is working on an entry: it holds the lock, or made the temporary folder."""
    if match := _TEMPORARY.fullmatch(path.name):
        return _is_alive(int(match["pid"]))
    return is_held(path.with_name(_key_of(path)))


def _is_keyed(path: Path) -> bool:
    return bool(_FEATURES.fullmatch(_key_of(path)))


def _key_of(path: Path) -> str:
    """Returns the key of features, finished or not."""
    return path.name.removesuffix(".partial")


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 is no question but an interrupt
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def set_limit() -> int | None:
    """Returns the limit that the user has set, in bytes; None: the default holds."""
    value = _read_object(cache_folder() / _SETTINGS).get("limit_bytes")
    return value if isinstance(value, int) and value > 0 else None


def change_limit(size: int | None) -> None:
    """Keeps a limit for the whole cache, in bytes; None goes back to the default.

    Raises:
        TlkitError: the cache folder can't be written.
    """
    path = cache_folder() / _SETTINGS
    settings = {key: value for key, value in _read_object(path).items() if key != "limit_bytes"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, settings if size is None else {**settings, "limit_bytes": size})
    except OSError as err:
        raise TlkitError(f"The limit can't be kept in {path}: {err.strerror}. TLKIT_CACHE moves the cache.") from err


def limit(used: int) -> int:
    """Returns the bytes that the whole cache may take.

    Args:
        used: The bytes it takes now: they count as free when half of the free disk is reckoned.
    """
    free = _free()
    setting = set_limit()
    return min(LIMIT_BYTES, (free + used) // 2) if setting is None else min(setting, free + used)


def _free() -> int:
    folder = cache_folder().absolute()
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def make_room(size: int, what: str = "the features") -> str | None:
    """Removes the least recently used features until `size` more bytes of `what` fit in the cache.

    Returns:
        None, or why they can't fit; nothing is removed then.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        return f"the cache folder {folder} can't be made ({err.strerror}); TLKIT_CACHE moves it"
    if not os.access(folder, os.W_OK):
        return f"the cache folder {folder} can't be written; TLKIT_CACHE moves it"
    found = entries()
    used = sum(entry.bytes for entry in found)
    most = limit(used)
    candidates = [entry for entry in reversed(found) if entry.kind in ("features", "unfinished") and not entry.in_use]
    kept = used - sum(entry.bytes for entry in candidates)
    if size + kept > most:
        others = f" and {size_text(kept)} of it can't be removed now" if size <= most else ""
        return f"{what} would take {size_text(size)}, the limit of the cache is {size_text(most)}{others}"
    for entry in candidates:
        if used + size <= most:
            break
        try:
            used -= remove(entry)
        except TlkitError as err:
            return str(err).rstrip(".")
    return None


def clear() -> tuple[list[Entry], list[Entry]]:
    """Removes all that can be made again. Returns what was removed, and what was left because it is in use.

    Raises:
        TlkitError: something can't be removed.
    """
    found = entries()
    removed = [entry for entry in found if not entry.in_use]
    for entry in removed:
        remove(entry)
    return removed, [entry for entry in found if entry.in_use]


def remove(entry: Entry) -> int:
    """Removes an entry and returns its bytes. Nobody ever sees half of it: it loses its name first.

    Raises:
        TlkitError: it can't be removed.
    """
    stem = entry.path.name.lstrip(".").partition(".")[0][:16]
    gone = entry.path.with_name(f".{stem}.{os.getpid()}.{secrets.token_hex(3)}")
    # Only features have a process that may come back to them this very moment.
    held = exclusive(entry.path.with_name(_key_of(entry.path))) if _is_keyed(entry.path) else nullcontext()
    try:
        with held:
            os.replace(entry.path, gone)
        if gone.is_symlink():
            gone.unlink()
        else:
            shutil.rmtree(gone)
    except RunError:  # a process began to work on it just now
        return 0
    except FileNotFoundError:  # another process was faster
        return entry.bytes
    except OSError as err:
        raise TlkitError(f"{entry.path} can't be removed: {err.strerror}. Remove it by hand.") from err
    return entry.bytes
