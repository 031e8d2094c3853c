"""What notebooks show, in a real kernel too."""

import re
import sys
import types
import xml.etree.ElementTree as ElementTree

import pytest

import tlkit
from tlkit import notebook
from tlkit.progress import Progress

HISTORY = [
    {
        "epoch": i,
        "loss": 2.0 / i,
        "accuracy": 0.2 * i,
        "val_loss": 2.5 / i,
        "val_accuracy": 0.19 * i,
        "learning_rate": 1.0,
    }
    for i in range(1, 5)
]


class ZMQInteractiveShell:
    """Named as Jupyter's."""


class TerminalInteractiveShell:
    """Named as that of a terminal."""


class Shell:
    """Named as Colab's."""


Shell.__module__ = "google.colab._shell"


@pytest.fixture
def ipython(monkeypatch):
    """IPython as far as we use it; what was displayed, each with what took its place."""
    shown = []

    class Handle:
        def __init__(self, content):
            self.contents = [content]
            shown.append(self.contents)

        def update(self, content):
            self.contents.append(content)

    module, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    module.get_ipython = lambda: ZMQInteractiveShell()
    display.HTML = str
    display.display = lambda content, display_id: Handle(content)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return module, shown


@pytest.mark.parametrize(
    ("shell", "inside"),
    [(ZMQInteractiveShell, True), (Shell, True), (TerminalInteractiveShell, False), (type(None), False)],
)
def test_a_notebook_is_known_by_its_shell(ipython, shell, inside):
    ipython[0].get_ipython = shell
    assert notebook.in_notebook() is inside
    assert type(notebook.default_progress()) is (notebook.NotebookScreen if inside else Progress)


def test_elsewhere_nothing_is_shown(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert type(notebook.default_progress()) is Progress


def test_a_bar_moves_and_leaves_a_line(ipython, monkeypatch):
    monkeypatch.setattr(notebook, "_PATIENCE", 0.0)
    monkeypatch.setattr(notebook, "_EVERY", 0.0)
    screen = notebook.NotebookScreen()
    with screen.bar("Training <all>", 20) as bar:
        bar.advance(5, note="loss 1")
        bar.advance(15, note="loss <0.5>")
    screen.say("a & b")
    screen.warn("mind")
    (moved, said, warned) = ipython[1]
    assert '<progress value="5" max="20"' in moved[0] and "5 of 20 images" in moved[0]
    assert '<progress value="20" max="20"' in moved[1]
    assert "Training &lt;all&gt;: 20 images in" in moved[2] and "loss &lt;0.5&gt;" in moved[2]
    assert "<progress" not in moved[2]
    assert "a &amp; b" in said[0] and "Warning: mind" in warned[0]


def test_what_is_done_at_once_shows_no_bar(ipython):
    with notebook.NotebookScreen().bar("Checking", 3) as bar:
        bar.advance(3)
    assert ipython[1] == []


def test_curves_go_where_the_figures_are():
    root = ElementTree.fromstring(notebook.curve_svg(HISTORY, "loss", "Loss <b>"))
    train, val = (
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in root.iter("{http://www.w3.org/2000/svg}polyline")
    )
    assert len(train) == len(val) == 4
    assert val[0][1] == 22 and train[-1][1] == 138  # the largest figure at the top, the smallest at the bottom
    assert [y for _, y in train] == sorted(y for _, y in train)
    assert [x for x, _ in train] == [x for x, _ in val] and (train[0][0], train[-1][0]) == (44, 292)
    flat = notebook.curve_svg([{**row, "loss": 1.0, "val_loss": 1.0} for row in HISTORY], "loss", "Loss")
    assert "nan" not in flat


def test_a_run_shows_itself(run):
    loaded = tlkit.load_run(run)
    assert [row["epoch"] for row in loaded.history] == list(range(1, len(loaded.history) + 1))
    assert set(loaded.history[0]) == {
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
    }  # fmt: skip
    shown = loaded._repr_html_()
    test = loaded.manifest["metrics"]["test"]
    assert f"{test['accuracy']:.1%} of {test['images']} photos" in shown
    assert "10 classes" in shown and shown.count("<svg") == 2
    (run / "history.csv").unlink()  # as of a run that was stopped in its first epoch
    assert loaded.history == [] and "<svg" not in loaded._repr_html_()


def test_names_in_a_run_are_escaped(run):
    manifest = tlkit.load_run(run).manifest
    shown = notebook.run_html(run, {**manifest, "classes": ["<script>alert(1)</script>", "b"]}, HISTORY)
    assert "<script>" not in shown and "&lt;script&gt;" in shown


def test_a_run_is_plotted(run):
    pytest.importorskip("matplotlib")
    loaded = tlkit.load_run(run)
    figure = loaded.plot()
    left, right = figure.axes
    train, val = left.get_lines()
    assert list(train.get_ydata()) == [row["loss"] for row in loaded.history]
    assert list(val.get_ydata()) == [row["val_loss"] for row in loaded.history]
    assert right.get_ylabel() == "accuracy"
    assert figure._repr_png_().startswith(b"\x89PNG")


def execute(cells, folder):
    """Runs cells in a Jupyter kernel; returns the outputs of each."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        made, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()  # raises what a cell raises
    return [cell.outputs for cell in made.cells]


def html_of(outputs):
    return "".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_in_a_real_kernel_bars_runs_and_figures_appear(tmp_path):
    pytest.importorskip("matplotlib")
    trained, shown, figure, predicted = execute(
        [
            "import tlkit\nrun = tlkit.finetune('digits', base='lenet5', epochs=2)",
            "run",
            "run.plot()",
            "photos = [f\"{run.manifest['data']['root']}/{p['path']}\" for p in run.manifest['split']['test'][:3]]\n"
            "print([p.top[0][0] for p in run.predict(photos)])",
        ],
        tmp_path,
    )
    assert re.search(r"Training: [\d,]+ images in", html_of(trained))
    assert "10 classes" in html_of(trained)
    assert not [output for output in trained if output.output_type == "error"]
    assert html_of(shown).count("<svg") == 2
    assert [output for output in figure if "image/png" in output.get("data", {})]
    assert "[" in "".join(output.get("text", "") for output in predicted)
