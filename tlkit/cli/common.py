"""Options that several commands share, and how results are printed."""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from tlkit.errors import TlkitError, did_you_mean
from tlkit.manifest import DEFAULT_RUNS

F = TypeVar("F", bound=Callable[..., Any])

# The exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130
HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class FloatOrAuto(click.FloatRange):
    """A number in a range, or `auto`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Returns the number, or `auto` as it is."""
        return value if value == "auto" else super().convert(value, param, ctx)


class Subcommands(click.Group):
    """A command with subcommands. Without one it is its first, with that one's options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the first subcommand in front of options that come without one."""
        if not args or (args[0].startswith("-") and args[0] not in HELP["help_option_names"]):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order of definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests the closest subcommand for one that does not exist."""
        if args[0] not in self.commands:
            known = ", ".join(self.commands)
            ctx.fail(f"{ctx.command_path} takes {known}, not {args[0]!r}.{did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


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


def yes_option(function: F) -> F:
    """Adds `--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def ask_to_remove(what: Sequence[str], *, yes: bool) -> None:
    """Names what will be removed and asks, unless the answer is given.

    Raises:
        TlkitError: the answer is no, or nobody is there to give one.
    """
    if yes:
        return
    for line in what:
        click.echo(line, err=True)
    try:
        agreed = click.confirm("Remove this for good?", err=True)
    except click.Abort as err:
        if not isinstance(err.__context__, EOFError):
            raise  # Ctrl-C
        raise TlkitError("Nothing was removed, for nobody is there to answer. Say --yes.") from err
    if not agreed:
        raise TlkitError("Nothing was removed.")


def print_json(value: object) -> None:
    """Prints a result for scripts."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def printable(text: str) -> str:
    """Returns a file's name as a terminal can show it: what would move the cursor or change colours is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def columns() -> int | None:
    """Returns how wide the terminal is; None where the output goes elsewhere, unless `COLUMNS` says a width."""
    wide = shutil.get_terminal_size((0, 0)).columns if sys.stdout.isatty() or os.environ.get("COLUMNS") else 0
    return wide or None


def print_table(
    rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), spare: Sequence[str] = ()
) -> tuple[str, ...]:
    """Prints rows in columns; the first row is the header.

    Args:
        rows: All of one length.
        right: Columns to align to the right.
        spare: Headers of columns that a narrow terminal may go without, the first first.

    Returns:
        The headers that were left out.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    shown, left_out = list(range(len(widths))), []
    for header in spare:
        if sum(widths[i] + 2 for i in shown) - 2 <= (columns() or math.inf):
            break
        shown.remove(rows[0].index(header))
        left_out.append(header)
    for row in rows:
        cells = [row[i].rjust(widths[i]) if i in right else row[i].ljust(widths[i]) for i in shown]
        click.echo("  ".join(cells).rstrip())
    return tuple(left_out)


def left_out_text(left_out: Sequence[str], command: str) -> list[str]:
    """Returns the line that says what a narrow terminal goes without, if anything."""
    return [f"Left out, for want of width: {', '.join(left_out)}. All of it: {command}"] if left_out else []
