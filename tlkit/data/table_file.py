"""Tables on disk as rows of text: CSV and TSV with the standard library, Parquet with pyarrow.

What the columns mean is none of this file's business: see `tlkit.data.listed`.
"""

import csv
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.errors import DataError
from tlkit.lazy import require

SUFFIXES = (".csv", ".tsv", ".parquet")
MAX_BYTES = 512 * 2**20  # of a table; a million rows take about 100 MiB
MAX_ROWS = 5_000_000  # a few kilobytes of Parquet can unpack to billions
DELIMITERS = (",", ";", "\t", "|")
# Marks that editors put in front of a text, and what the text is then encoded in.
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as text.

    Attributes:
        path: Its file.
        columns: Names, as they are written.
        rows: As many cells each as there are columns, without white space around them; empty where there is nothing.
        numbers: Where each row is: the line in which it ends, or in Parquet its number, from 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numbers: list[int]

    def where(self, row: int) -> str:
        """Returns where a row is, such as `labels.csv, line 7`."""
        kind = "row" if self.path.suffix.lower() == ".parquet" else "line"
        return f"{self.path.name}, {kind} {self.numbers[row]}"


def is_table(path: Path) -> bool:
    """Whether a path is named like a table and is no folder."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def read_table(path: Path) -> Table:
    """Reads a .csv, .tsv or .parquet file; the first line of a text file names the columns.

    Text is UTF-8, or UTF-16 with a mark; lines end in any way. The delimiter is the one of `DELIMITERS` that parts the
    first line into the most cells, in a .tsv file the tabulator.

    Raises:
        DataError: there is no such file, it is damaged, too large, too long or no text, or its rows don't fit its first
            line.
        MissingDependencyError: pyarrow is not installed, and it is Parquet.
    """
    try:
        about = os.stat(path)
    except OSError as err:
        raise DataError(f"The table {path} can't be read: {err.strerror}. Check --data.") from err
    if not stat.S_ISREG(about.st_mode):
        raise DataError(f"{path} is not a file. Give --data a folder of photos, or a table.")
    if about.st_size > MAX_BYTES:
        raise DataError(f"{path} has {about.st_size / 2**20:.0f} MiB, the limit is {MAX_BYTES // 2**20} MiB.")
    columns, numbered = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    rows: list[tuple[str, ...]] = []
    numbers: list[int] = []
    for number, row in numbered:
        rows.append(tuple(cell.strip() for cell in row))
        numbers.append(number)
        _check_rows(path, len(rows))
    return Table(path=path, columns=tuple(columns), rows=rows, numbers=numbers)


def _check_rows(path: Path, count: int) -> None:
    if count > MAX_ROWS:
        raise DataError(f"{path} has more than {MAX_ROWS:,} rows. Give fewer photos at a time.")


def _text(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    content = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as err:
        line = content[: err.start].count(b"\n") + 1
        raise DataError(f"{path} is no UTF-8 text: see line {line}. Save it as UTF-8.") from err
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    rows = _parsed(path, text, delimiter)
    _, columns = next(rows, (0, []))
    if not columns:
        raise DataError(f"{path} is empty. Its first line must name the columns, such as: path,label")
    return columns, _fitted(path, len(columns), delimiter, rows)


def _delimiter(text: str) -> str:
    first = text.lstrip("\r\n").partition("\n")[0]
    return max(DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))


def _parsed(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows that are not blank with the lines in which they end."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    except csv.Error as err:
        raise DataError(f"{path}, line {reader.line_num} can't be read: {err}. Check its quotes.") from err


def _fitted(
    path: Path, count: int, delimiter: str, rows: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    """Gives every row `count` cells."""
    for number, row in rows:
        if any(cell.strip() for cell in row[count:]):
            raise DataError(
                f"{path}, line {number} has {len(row)} cells, and the first line names {count} columns. Put a cell "
                f"that holds {delimiter!r} in quotes."
            )
        yield number, [*row, *[""] * (count - len(row))][:count]


def _parquet(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Reads the columns that hold text, numbers or truth values; others, such as bytes of images, are passed over."""
    pyarrow, parquet = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
    try:
        with parquet.ParquetFile(path) as file:
            _check_rows(path, file.metadata.num_rows)
            names = [field.name for field in file.schema_arrow if _is_plain(pyarrow.types, field.type)]
            found = [[_as_text(value) for value in column.to_pylist()] for column in file.read(names).columns]
    except (pyarrow.ArrowException, OSError, ValueError) as err:
        reason = str(err).strip().partition("\n")[0]
        raise DataError(f"{path} can't be read as Parquet ({reason}). Write it again.") from err
    rows = (list(row) for row in zip(*found, strict=True))
    return names, enumerate(rows, start=1)


def _is_plain(types: Any, kind: Any) -> bool:  # noqa: ANN401
    if types.is_dictionary(kind):
        kind = kind.value_type
    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return any(test(kind) for test in tests)


def _as_text(value: Any) -> str:  # noqa: ANN401
    if value is None or value != value:  # nothing, or not a number
        return ""
    # A column of whole numbers with gaps is often one of floats.
    return str(int(value)) if isinstance(value, bool | float) and value == int(value) else str(value)
