"""Photos from whatever `--data` names: a folder, a table that lists them, or TFRecord files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tlkit.data.discover import Folder, discover
from tlkit.data.listed import listed
from tlkit.data.origin import Origin
from tlkit.data.records import record_files, unpack
from tlkit.data.table_file import is_table
from tlkit.errors import DataError
from tlkit.progress import Progress


def find_photos(
    data: Path,
    *,
    strict: bool = False,
    known: Sequence[str] | None = None,
    multi_label: bool = False,
    progress: Progress | None = None,
) -> Folder:
    """Finds and checks photos; arguments and errors as for `discover`, `listed` and `unpack`.

    Raises:
        DataError: also when with `multi_label` it is no table.
    """
    if is_table(data):
        return listed(data, strict=strict, known=known, multi_label=multi_label, progress=progress)
    if multi_label:
        raise DataError(
            f"{data} is not a table, and only a table can give a photo several labels: a .csv, .tsv or .parquet file "
            "with a column called path and one called label, with cells such as cat|dog."
        )
    if record_files(data):
        folder = discover(unpack(data, progress), strict=strict, known=known, progress=progress)
        return replace(folder, origin=Origin(kind="tfrecord", source=str(data.absolute())))
    return discover(data, strict=strict, known=known, progress=progress)
