"""One process at a time: locks that end with the process that holds them, however it ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tlkit.errors import RunError
from tlkit.manifest import hidden_place

# Seconds in which somebody who only asks `is_held` lets go again.
_GLANCE = 0.5


def lock_of(folder: Path) -> Path:
    """Returns the lock file of a folder. It stays when it is released: only holding it means something."""
    return hidden_place(folder) / f"{folder.name}.lock"


@contextmanager
def exclusive(folder: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds the lock of a folder, which need not exist yet.

    Args:
        folder: What nobody else may change meanwhile.
        waiting: Is called when another process holds the lock; it is then waited for. Without, that is an error.

    Raises:
        RunError: another process holds the lock, and waiting for it was not asked for.
    """
    from filelock import FileLock, Timeout

    lock_of(folder).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_of(folder))
    try:
        lock.acquire(timeout=_GLANCE, poll_interval=0.05)
    except Timeout:
        if waiting is None:
            raise RunError(f"{folder} is in use by another process. Wait until it is done, or stop it.") from None
        waiting()
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether some process works on a folder right now."""
    from filelock import FileLock, Timeout

    if not lock_of(folder).exists():
        return False
    lock = FileLock(lock_of(folder))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        return False  # not ours to write, so not ours to hold
    lock.release()
    return False
