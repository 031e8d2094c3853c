"""Photos from whatever `--data` names: a folder, or a table that lists them."""

from collections.abc import Sequence
from pathlib import Path

from tlkit.data.discover import Folder, discover
from tlkit.data.listed import listed
from tlkit.data.table_file import is_table
from tlkit.progress import Progress


def find_photos(
    data: Path, *, strict: bool = False, known: Sequence[str] | None = None, progress: Progress | None = None
) -> Folder:
    """Finds and checks photos; arguments and errors as for `discover` and `listed`."""
    if is_table(data):
        return listed(data, strict=strict, known=known, progress=progress)
    return discover(data, strict=strict, known=known, progress=progress)
