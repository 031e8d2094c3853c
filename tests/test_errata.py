"""docs/errata.md: every number in it is counted."""

import runpy

from .conftest import ROOT

MAKE = runpy.run_path(str(ROOT / "docs" / "make_errata.py"), run_name="errata")


def test_the_errata_are_what_is_counted():
    assert MAKE["reference"]() == (ROOT / "docs" / "errata.md").read_text(), "run python docs/make_errata.py"
