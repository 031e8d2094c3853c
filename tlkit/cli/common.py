"""Options that several commands share, and how results are printed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from tlkit.manifest import DEFAULT_RUNS

F = TypeVar("F", bound=Callable[..., Any])

# The exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def json_option(function: F) -> F:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")(function)


def runs_option(function: F) -> F:
    """Adds `--runs`."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path),
        default=DEFAULT_RUNS,
        show_default=True,
        help="Folder that holds the runs.",
    )(function)


def print_json(value: object) -> None:
    """Prints a result for scripts."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Prints rows in columns; the first row is the header. `right` lists columns to align to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
