"""docs/python.md and the notebook of a recipe: every example runs."""

import re
import runpy

import pytest

from .conftest import ROOT
from .test_notebook import execute, html_of

MAKE = runpy.run_path(str(ROOT / "docs" / "make_notebooks.py"), run_name="notebooks")
NOTEBOOK = ROOT / "recipes" / "small_data.ipynb"


@pytest.mark.slow
def test_every_example_runs_and_gives_what_it_says(make_folder, tmp_path, monkeypatch, capsys):
    import keras

    make_folder("photos", each=12)
    make_folder("more_photos", classes=("beetles",), each=6, first=70)
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(), re.M | re.S)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["name"] in ("ants", "bees", "wasps") and 0 < names["probability"] <= 1
    assert isinstance(names["probabilities"], keras.Model)
    assert set(names["last"]) == {
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
    }  # fmt: skip
    assert names["model"].input.shape == (None, 224, 224, 3) and names["model"].output.shape == (None, 10)
    assert names["grown"].manifest["classes"] == ["ants", "bees", "wasps", "beetles"]
    assert "'forgotten'" in capsys.readouterr().out
    assert (tmp_path / "best.weights.h5").is_file()


def test_the_notebook_is_the_one_that_is_made():
    assert NOTEBOOK.read_text() == MAKE["notebook"](MAKE["SMALL_DATA"]), "run python docs/make_notebooks.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_notebook_runs_in_a_real_kernel(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    made = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(made)
    cells = [cell.source for cell in made.cells if cell.cell_type == "code"]
    assert cells[0].count("EPOCHS = None") == 1
    cells[0] = cells[0].replace("EPOCHS = None", "EPOCHS = 6")
    _, trained, figure, artifact, predicted = execute(cells, tmp_path)
    assert "Test accuracy" in html_of(trained) and "<svg" in html_of(trained)
    assert any("image/png" in output.get("data", {}) for output in figure)
    assert "top1_agreement" in str(artifact) and "Prediction(" in str(predicted)
