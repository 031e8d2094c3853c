"""Photos from whatever `--data` names: a folder, a table that lists them, or TFRecord files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tlkit.data.discover import Folder, discover
from tlkit.data.listed import listed
from tlkit.data.origin import Origin
from tlkit.data.records import record_files, unpack
from tlkit.data.table_file import is_table
from tlkit.progress import Progress


def find_photos(
    data: Path, *, strict: bool = False, known: Sequence[str] | None = None, progress: Progress | None = None
) -> Folder:
    """Finds and checks photos; arguments and errors as for `discover`, `listed` and `unpack`."""
    if is_table(data):
        return listed(data, strict=strict, known=known, progress=progress)
    if record_files(data):
        folder = discover(unpack(data, progress), strict=strict, known=known, progress=progress)
        return replace(folder, origin=Origin(kind="tfrecord", source=str(data.absolute())))
    return discover(data, strict=strict, known=known, progress=progress)
