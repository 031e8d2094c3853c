"""What a table says of photos with any number of labels: `a|b` in one column, or a column of 0 and 1 for each class."""

from collections.abc import Collection

from tlkit.data.table_file import Table
from tlkit.errors import DataError, some

SEPARATORS = ("|", ";")


def label_cells(table: Table, label: int | None, others: Collection[int]) -> list[tuple[str, ...]]:
    """Returns the labels of each row, sorted, each once; a row may have none.

    Args:
        table: With the rows.
        label: The column with labels; None: every column but `others` is a class.
        others: Columns that hold something else.

    Raises:
        DataError: it can't be told where one label ends, or a cell of a class's column is neither 0 nor 1.
    """
    if label is None:
        return _from_columns(table, [i for i in range(len(table.columns)) if i not in others])
    cells = [row[label] for row in table.rows]
    separator = _separator(table, cells)
    return [tuple(sorted({part.strip() for part in cell.split(separator)} - {""})) for cell in cells]


def _separator(table: Table, cells: list[str]) -> str:
    rows = {mark: next((i for i, cell in enumerate(cells) if mark in cell), None) for mark in (*SEPARATORS, ",")}
    used = [mark for mark in SEPARATORS if rows[mark] is not None]
    if len(used) > 1:
        first, second = (table.where(row) for row in (rows["|"], rows[";"]) if row is not None)
        raise DataError(
            f"{table.path.name} has labels with '|' ({first}) and with ';' ({second}): only one of them can stand "
            "between labels. Use '|' throughout."
        )
    if not used and (row := rows[","]) is not None:
        raise DataError(
            f"{table.where(row)} has the label {cells[row]!r}: a comma does not stand between labels, '|' or ';' does, "
            "as in cat|dog. If the comma is part of a name, put '|' behind one of the labels."
        )
    return used[0] if used else SEPARATORS[0]


def _from_columns(table: Table, columns: list[int]) -> list[tuple[str, ...]]:
    if not columns:
        raise DataError(
            f"{table.path} says nothing of labels: it needs a column called label with cells such as cat|dog, or a "
            "column of 0 and 1 for each class."
        )
    names = [table.columns[i] for i in columns]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{table.path} has the column {some(sorted(map(repr, twice)))} twice. Remove one.")
    for i, row in enumerate(table.rows):
        for column in columns:
            if row[column] not in ("0", "1"):
                raise DataError(
                    f"{table.where(i)} has {row[column]!r} in the column {table.columns[column]!r}. With --multi-label "
                    "and no column called label, each column but path and split is a class, and holds 0 or 1."
                )
    return [tuple(sorted(table.columns[i] for i in columns if row[i] == "1")) for row in table.rows]
