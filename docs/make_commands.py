"""Writes docs/commands.md from `--help`; a test holds the file to it.

python docs/make_commands.py
"""

from pathlib import Path

from click.testing import CliRunner

from tlkit.cli.main import COMMANDS, cli


def main() -> None:
    """Writes the file."""
    parts = ["# Commands\n\nMade by `python docs/make_commands.py` from `--help`.\n"]
    for name in COMMANDS:
        text = CliRunner().invoke(cli, [name, "--help"], prog_name="tlkit", terminal_width=100).output
        parts.append(f"## tlkit {name}\n\n```\n{text.strip()}\n```\n")
    parts.append(
        "## Exit codes\n\n0 done, 1 something in the data, the files or the network, 2 wrong options,\n"
        "3 the artifact fell short of the limit of its precision, 130 interrupted.\n"
    )
    Path(__file__).with_name("commands.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
