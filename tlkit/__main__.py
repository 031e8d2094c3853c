"""`python -m tlkit`."""

from tlkit.cli.main import run

run()
