"""CSV that is safe to open in a spreadsheet."""

import pytest

from tlkit.tables import csv_text


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-x.jpg", "@sum", "\tx"])
def test_what_a_spreadsheet_would_compute_gets_an_apostrophe(name):
    assert csv_text([[name, 1]]) == f"'{name},1\n"


@pytest.mark.parametrize("cell", ["a", "", "-1.5", "+3", -2, 0.5])
def test_numbers_and_plain_text_stay_as_they_are(cell):
    assert csv_text([[cell, "x"]]) == f"{cell},x\n"


def test_commas_quotes_and_line_ends_are_quoted():
    assert csv_text([["a,b", 'c"d', "e\nf"]]) == '"a,b","c""d","e\nf"\n'
