"""docs/errata.md: every number in it is counted."""

import runpy

from tlkit.models import registry

from .conftest import ROOT

MAKE = runpy.run_path(str(ROOT / "docs" / "make_errata.py"), run_name="errata")


def test_the_errata_are_what_is_counted():
    assert MAKE["reference"]() == (ROOT / "docs" / "errata.md").read_text(), "run python docs/make_errata.py"


def test_the_lectures_columns_are_the_networks():
    summary = MAKE["counted"]("googlenet")
    for name in MAKE["INCEPTION"]:
        rows = [row for row in summary.layers if row.name.startswith(f"stage{name[0]}_{name[1]}_")]
        module = MAKE["inception"](name)
        assert (sum(row.parameters for row in rows), sum(row.macs for row in rows)) == (module.parameters, module.macs)


def test_what_is_said_of_whole_rows_holds():
    text = " ".join((ROOT / "docs" / "errata.md").read_text().split())
    for name, (_, layers, *_) in MAKE["COMPARISON"].items():
        assert registry.find(name).depth == layers  # "The numbers of layers are right."
    assert "3a, 3b, 4b are right to within one" in text
    assert "has 9,472 (9,408 without biases) and 118.0M MACs" in text
    assert "MobileNetV1 joins branches 0 times, GoogLeNet 9 times" in text
