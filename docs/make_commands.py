"""Writes docs/commands.md from `--help`; a test holds the file to it.

python docs/make_commands.py
"""

from pathlib import Path

import click
from click.testing import CliRunner

from tlkit.cli.main import COMMANDS, cli

HEAD = "# Commands\n\nMade by `python docs/make_commands.py` from `--help`.\n"
TAIL = (
    "## Exit codes\n\n0 done, 1 something does not exist or can't be used (data, files, names, the network),\n"
    "2 options that can't be, "
    "3 the artifact fell short of the limit of its precision, 130 interrupted.\n"
)


def paths() -> list[tuple[str, ...]]:
    """Returns every command, and behind it its subcommands: `("runs",), ("runs", "list"), ...`."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        found.append((name,))
        found += [(name, inner) for inner in getattr(command, "commands", ())]
    return found


def help_of(path: tuple[str, ...]) -> str:
    """Returns what `--help` prints for a command."""
    return CliRunner().invoke(cli, [*path, "--help"], prog_name="tlkit", terminal_width=100).output.strip()


def reference() -> str:
    """Returns the whole file."""
    parts = [f"##{'#' * (len(path) - 1)} tlkit {' '.join(path)}\n\n```\n{help_of(path)}\n```\n" for path in paths()]
    return "\n".join([HEAD, *parts, TAIL])


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(reference())
