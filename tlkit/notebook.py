"""What a notebook shows: bars while something runs, and a run with its curves. Needs nothing but the notebook."""

import csv
import html
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.lazy import require
from tlkit.progress import Bar, Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Seconds: what is done sooner shows no bar; how often one changes.
_PATIENCE, _EVERY = 0.5, 0.2
_COLOURS = {"train": "#1f77b4", "val": "#d95f02"}
_STYLE = "font-family: system-ui, sans-serif; font-size: 13px"


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook: Jupyter's, an editor's or Colab's; a terminal's IPython is none."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    kind = type(shell)
    return kind.__name__ == "ZMQInteractiveShell" or kind.__module__.startswith("google.colab")


def default_progress() -> Progress:
    """Returns what shows progress where the caller says nothing: bars in a notebook, nothing elsewhere."""
    return NotebookScreen() if in_notebook() else Progress()


class NotebookScreen(Progress):
    """Shows progress below a notebook's cell."""

    def say(self, text: str) -> None:
        """Shows a line."""
        _display(_line(text))

    def warn(self, text: str) -> None:
        """Shows a line that stands out."""
        _display(_line(f"Warning: {text}", style="background: #fff3cd; color: #664d03; padding: 2px 6px"))

    @contextmanager
    def bar(self, title: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """Shows a bar for what takes over half a second; leaves one line behind."""
        shown: list[Callable[[str], None]] = []
        last = 0.0

        class HtmlBar(Bar):
            def advance(self, count: int = 1, *, note: str | None = None) -> None:
                nonlocal last
                super().advance(count, note=note)
                now = time.perf_counter()
                if self.seconds < _PATIENCE or now - last < _EVERY:
                    return
                last = now
                content = _bar_html(title, self, unit)
                if shown:
                    shown[0](content)
                else:
                    shown.append(_display(content))

        bar = HtmlBar(total)
        try:
            yield bar
        finally:
            if shown:
                note = f"  {bar.note}" if bar.note else ""
                shown[0](_line(f"{title}: {bar.done:,} {unit} in {bar.seconds:.1f} s{note}"))


def _display(content: str) -> Callable[[str], None]:
    """Shows HTML below the cell and returns what puts other HTML in its place."""
    from IPython.display import HTML, display

    handle = display(HTML(content), display_id=True)
    return lambda changed: handle.update(HTML(changed))


def _line(text: str, style: str = "") -> str:
    return f'<div style="{_STYLE}; white-space: pre-wrap; {style}">{html.escape(text)}</div>'


def _bar_html(title: str, bar: Bar, unit: str) -> str:
    left = f", {bar.remaining:.0f} s to go" if bar.remaining else ""
    text = f"{bar.done:,} of {bar.total:,} {unit}, {bar.done / bar.seconds:,.0f}/s{left}  {bar.note}"
    return (
        f'<div style="{_STYLE}">{html.escape(title)} '
        f'<progress value="{bar.done}" max="{bar.total}" style="width: 16em"></progress> {html.escape(text)}</div>'
    )


def read_history(folder: Path) -> list[dict[str, float]]:
    """Returns the rows of a run's `history.csv`, one an epoch; none where there is no such file yet."""
    path = folder / "history.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def run_html(folder: Path, manifest: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> str:
    """Returns a run as HTML: what it is, its accuracy, its classes and its curves; names from outside are escaped."""
    from tlkit.errors import some

    classes = manifest["classes"]
    rows = [("Run", str(folder)), ("Status", manifest["status"]), ("Base", manifest["base"])]
    for name, title in (("val", "Validation accuracy"), ("test", "Test accuracy")):
        if part := manifest["metrics"].get(name):
            rows.append((title, f"{part['accuracy']:.1%} of {part['images']} photos"))
    rows.append((f"{len(classes)} classes", some(classes, 12)))
    rows += [("Artifact", entry["path"]) for entry in manifest["artifacts"]]
    cells = "".join(
        f'<tr><th style="text-align: left">{html.escape(title)}</th>'
        f'<td style="text-align: left">{html.escape(str(text))}</td></tr>'
        for title, text in rows
    )
    curves = "".join(
        curve_svg(history, name, title)
        for name, title in (("loss", "Loss"), ("accuracy", "Accuracy"))
        if len(history) > 1
    )
    return f'<div style="{_STYLE}"><table>{cells}</table>{curves}</div>'


def curve_svg(
    history: Sequence[Mapping[str, float]], name: str, title: str, *, width: int = 300, height: int = 160
) -> str:
    """Returns an SVG of one figure over the epochs, of training and validation.

    Args:
        history: Rows, at least two.
        name: Of the column; `val_<name>` is that of validation.
        title: Above the curves.
        width: In pixels.
        height: In pixels.
    """
    left, top, right, bottom = 44, 22, width - 8, height - 22
    columns = {"train": name, "val": f"val_{name}"}
    epochs = [row["epoch"] for row in history]
    values = [row[column] for row in history for column in columns.values()]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def points(column: str) -> str:
        return " ".join(
            f"{left + (row['epoch'] - epochs[0]) / (epochs[-1] - epochs[0]) * (right - left):.1f},"
            f"{bottom - (row[column] - low) / span * (bottom - top):.1f}"
            for row in history
        )

    lines = "".join(
        f'<polyline points="{points(column)}" fill="none" stroke="{_COLOURS[part]}" stroke-width="2"/>'
        f'<text x="{right - 70 + 40 * i}" y="14" fill="{_COLOURS[part]}">{part}</text>'
        for i, (part, column) in enumerate(columns.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="11" fill="currentColor" '
        f'role="img" aria-label="{html.escape(title)} by epoch"><text x="{left}" y="14">{html.escape(title)}</text>'
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" fill="none" stroke="#888"/>'
        f'<text x="{left - 4}" y="{top + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{left - 4}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{left}" y="{height - 6}">{epochs[0]}</text>'
        f'<text x="{right}" y="{height - 6}" text-anchor="end">epoch {epochs[-1]}</text>{lines}</svg>'
    )


def history_figure(history: Sequence[Mapping[str, float]], *, title: str) -> "Figure":
    """Draws loss and accuracy over the epochs, of training and validation.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require("matplotlib", extra="plot")
    from matplotlib.figure import Figure

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            # Notebooks know how to show a figure only once pyplot was imported.
            file = io.BytesIO()
            self.savefig(file, format="png", dpi=100)
            return file.getvalue()

    figure = Shown(figsize=(9, 3.2), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, column in (("train", name), ("val", f"val_{name}")):
            axes.plot(epochs, [row[column] for row in history], label=part, color=_COLOURS[part], marker=".")
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
    figure.suptitle(title, fontsize=10)
    return figure
