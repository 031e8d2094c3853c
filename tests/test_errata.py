"""docs/errata.md: every number in it is counted."""

import ast
import re
import runpy

import pytest

from tlkit.models import registry

from .conftest import ROOT

MAKE = runpy.run_path(str(ROOT / "docs" / "make_errata.py"), run_name="errata")
SOURCE = ast.parse((ROOT / "docs" / "make_errata.py").read_text())


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


# Not figures: names of networks, layers and modules, units, and where to read.
NAMES = r"arXiv:[\d.]+|(VGG|ResNet|LeNet)-?\d+|MobileNetV1|Inception-v3|conv\d|\b[345][a-e]\b|2\^[23]0|10\^6|Table 1"
NUMBER = r"\d(?:[\d,.]*\d)?(?:x\d+)*|\b(?:five|six|seven|eight|nine|ten)\b"


def typed(section):
    """The numbers in the sentences of a section that no code makes."""
    (function,) = (node for node in SOURCE.body if isinstance(node, ast.FunctionDef) and node.name == section)
    (said,) = (node.value for node in function.body if isinstance(node, ast.Return))
    text = " ".join(part.value if isinstance(part, ast.Constant) else "~" for part in said.values)
    return set(re.findall(NUMBER, re.sub(NAMES, "", text)))


@pytest.mark.parametrize("section", MAKE["QUOTED"])
def test_every_number_is_counted_or_quoted(section):
    """Figures that are only typed would be compared with themselves."""
    assert typed(section) <= set(re.findall(NUMBER, MAKE["QUOTED"][section]))
