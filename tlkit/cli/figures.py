"""How figures of architectures are printed: sizes, accuracies with their sources, tables in Markdown."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tlkit.models.architecture import Accuracy

_COLUMNS = 120  # of a line that goes to a file


class Sources:
    """Numbers the sources of accuracies: what is printed beside a figure is explained once below the table."""

    def __init__(self) -> None:
        self._sources: list[str] = []

    def cell(self, accuracy: Accuracy | None) -> str:
        """Returns top-1, top-5 in per cent and the source's number: `74.4 / 91.9 [2]`; `-` is not stated."""
        if accuracy is None:
            return "-"
        if accuracy.source not in self._sources:
            self._sources.append(accuracy.source)
        number = self._sources.index(accuracy.source) + 1
        return f"{per_cent(accuracy.top1)} / {per_cent(accuracy.top5)} [{number}]"

    def lines(self) -> list[str]:
        """Returns the sources: `[2] arXiv:1409.1556, Table 4`."""
        return [f"[{i}] {source}" for i, source in enumerate(self._sources, start=1)]


def wrapped(text: str, columns: int | None, *, indent: str = "") -> str:
    """Returns text in lines of at most that many columns (120 where the terminal's width is not known)."""
    return textwrap.fill(text, columns or _COLUMNS, subsequent_indent=indent, break_on_hyphens=False)


def per_cent(fraction: float | None) -> str:
    """Returns 0.744 as `74.4` and 0.7715 as `77.15`: as many digits as are stated."""
    return "-" if fraction is None else f"{100 * fraction:.2f}".removesuffix("0")


def millions(count: int | None) -> str:
    """Returns a count in millions with one decimal: `300.8`."""
    return "-" if count is None else f"{count / 1e6:,.1f}"


def megabytes(count: int) -> str:
    """Returns bytes in 10^6 bytes with one decimal."""
    return f"{count / 1e6:,.1f}"


def accuracy_json(accuracy: Accuracy | None) -> dict[str, Any] | None:
    """Returns an accuracy for `--json`, in fractions."""
    return None if accuracy is None else asdict(accuracy)


def markdown_table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Returns rows as a table in Markdown; the first row is the header. `right` lists columns to align to the right."""
    header, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---:" if i in right else "---" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))
