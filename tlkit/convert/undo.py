"""What several files are together, they become together: all new, or all as before."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlkit.manifest import staging


@contextmanager
def restored_on_failure(*paths: Path) -> Iterator[None]:
    """Puts back what is at `paths` now, or removes what was not there, when the block fails.

    Meanwhile the old files have a second name elsewhere (a copy where the file system has no links).
    """
    backups = {path: staging(path) / f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}.old" for path in paths}
    kept: dict[Path, Path] = {}
    try:
        for path, backup in backups.items():
            if path.exists():
                _second_name(path, backup)
                kept[path] = backup
        try:
            yield
        except BaseException:
            for path in paths:
                if path in kept:
                    os.replace(kept[path], path)
                else:
                    path.unlink(missing_ok=True)
            raise
    finally:
        for backup in backups.values():
            backup.unlink(missing_ok=True)


def _second_name(path: Path, backup: Path) -> None:
    try:
        os.link(path, backup)
    except OSError:
        shutil.copy2(path, backup)
