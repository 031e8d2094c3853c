"""Architectures as a picture: published accuracy against multiply-accumulates, area as parameters."""

import importlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tlkit.errors import MissingDependencyError, OptionError
from tlkit.lazy import require
from tlkit.manifest import naming, replacing
from tlkit.models.compare import Figures

FORMS = (".png", ".svg")
_AREA = 25.0  # points^2 for a million parameters
_SMALLEST = 30.0  # so that a network of few parameters is still seen
_GAP = 3.0  # points between a circle and its name
_CROWD = 60.0  # points within which circles are neighbours
_PIXELS = 150  # per inch
_FONT = 8  # points
_UNDER_NAMES = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}
_CAPTION = "Area: parameters. Accuracy on ImageNet as published; the sources: tlkit models"
_LEGEND = {
    True: "one network, one crop",
    False: "average of several crops, positions or networks;\nMACs are those of one",
}
# Titles that would be too long beside a circle.
_SHORT = {
    "alexnet_owt": "AlexNet (owt)",
    "googlenet_bn": "GoogLeNet (batch norm)",
    "plain18": "Plain-18",
    "plain34": "Plain-34",
}

Box = tuple[float, float, float, float]  # left, bottom, right, top
Circle = tuple[float, float, float]  # x, y, radius
Line = tuple[tuple[float, float], tuple[float, float]]  # its ends


def check(path: Path) -> None:
    """Checks, before anything is counted, that a picture can be drawn to a path.

    Raises:
        OptionError: neither `.png` nor `.svg`, a folder, or in a folder that is not there.
        MissingDependencyError: matplotlib is not installed, or broken.
    """
    if path.is_dir():
        raise OptionError(f"--picture takes a file, and {path} is a folder. Give it a name: {path / 'networks.png'}")
    if path.suffix.lower() not in FORMS:
        raise OptionError(f"--picture takes a file that ends in {' or '.join(FORMS)}, not {path.name!r}.")
    if not path.parent.is_dir():
        missing = f"There is no folder {path.parent}. Make it, or give"
        problem = f"{path.parent} is no folder. Give" if path.parent.exists() else missing
        raise OptionError(f"{problem} --picture a file in another one.")
    _matplotlib()


def _matplotlib() -> tuple[ModuleType, ...]:
    """Returns matplotlib, its module of figures and the backend that needs no display."""
    try:
        package = require("matplotlib", extra="plot")
        inner = (importlib.import_module(f"matplotlib.{name}") for name in ("figure", "backends.backend_agg", "lines"))
        return package, *inner
    except (ImportError, AttributeError, ValueError) as err:  # the last two if it was compiled for another NumPy
        raise MissingDependencyError(
            f"matplotlib is installed but can't be imported ({err}). Install it anew with: "
            "pip install --force-reinstall 'tlkit[plot]'"
        ) from err


def draw(figures: Sequence[Figures], path: Path) -> list[Figures]:
    """Draws what has a published top-1 accuracy and a count of MACs; the file's ending says PNG or SVG.

    Returns:
        What could not be drawn.

    Raises:
        OptionError: nothing can be drawn, or not there (see `check`).
        MissingDependencyError: matplotlib is not installed, or broken.
    """
    check(path)
    drawn = [one for one in figures if one.macs and one.accuracy and one.accuracy.top1 is not None]
    if not drawn:
        names = ", ".join(one.architecture.name for one in figures)
        raise OptionError(f"None of {names} has a published top-1 accuracy for these options: nothing to draw.")
    matplotlib, figure_module, backend, lines = _matplotlib()
    figure = figure_module.Figure(figsize=(9, 6), layout="constrained", dpi=_PIXELS)
    backend.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    families = list(dict.fromkeys(one.architecture.family for one in drawn))
    for one in sorted(drawn, key=lambda one: -one.parameters):  # or the large ones would hide the small ones
        colour = f"C{families.index(one.architecture.family) % 10}"
        _circle(axes, one, colour)
        axes.scatter(*_point(one), s=3, color="0.2")
    axes.set(xscale="log", xlabel="million MACs for one image (logarithmic)", ylabel="top-1 accuracy, %")
    axes.margins(0.16)
    axes.grid(alpha=0.25)
    axes.set_title(_CAPTION, fontsize=8, color="0.35", loc="left")
    _legend(axes, drawn, lines.Line2D)
    _write_names(axes, drawn)
    form = path.suffix.lower()[1:]
    # Without the date and with names that are not drawn by chance, the same figures make the same file.
    with naming(path), replacing(path) as temporary, matplotlib.rc_context({"svg.hashsalt": "tlkit"}):
        figure.savefig(temporary, format=form, metadata={"Date": None} if form == "svg" else None)
    return [one for one in figures if one not in drawn]


def _circle(axes: Any, one: Figures, colour: str) -> None:  # noqa: ANN401
    """Draws a full circle for one crop of one network, a ring for an average, whose MACs are not those drawn."""
    if one.accuracy and one.accuracy.one_crop:
        axes.scatter(*_point(one), s=_area(one), color=colour, alpha=0.5, linewidths=0.8, edgecolors="white")
    else:
        axes.scatter(*_point(one), s=_area(one), facecolors="none", linewidths=1.2, edgecolors=colour)


def _legend(axes: Any, drawn: Sequence[Figures], line: Any) -> None:  # noqa: ANN401
    """Explains full circles and rings, those that there are."""
    kinds = {bool(one.accuracy and one.accuracy.one_crop) for one in drawn}
    style = {"linestyle": "none", "marker": "o", "markersize": 9, "markeredgecolor": "0.4"}
    handles = [
        line([], [], **style, markerfacecolor="0.7" if full else "none", label=_LEGEND[full])
        for full in sorted(kinds, reverse=True)
    ]
    axes.legend(handles=handles, loc="lower right", fontsize=_FONT, framealpha=0.9)


def _point(one: Figures) -> tuple[float, float]:
    """Million MACs and top-1 in per cent, of one that has both."""
    return (one.macs or 0) / 1e6, 100 * ((one.accuracy and one.accuracy.top1) or 0)


def _area(one: Figures) -> float:
    return _SMALLEST + _AREA * one.parameters / 1e6


def _write_names(axes: Any, drawn: Sequence[Figures]) -> None:  # noqa: ANN401
    """Puts each name where it covers least: near its circle, or further off with a line to it.

    All of it is in pixels, where circles and text have sizes that do not depend on the axes.
    """
    axes.figure.draw_without_rendering()  # fixes the scales
    axes.autoscale(False)  # or lines would move them again
    pixels = _PIXELS / 72
    circles = []
    for one in drawn:
        x, y = axes.transData.transform(_point(one))
        radius = math.sqrt(_area(one) / math.pi) * pixels
        circles.append((x, y, radius))
    frame, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
    placed: list[Box] = [(legend.x0, legend.y0, legend.x1, legend.y1)]
    lines: list[Line] = []
    # Those with the most neighbours choose first.
    crowd = [sum(math.dist(a[:2], b[:2]) < _CROWD * pixels for b in circles) for a in circles]
    for i in sorted(range(len(drawn)), key=lambda i: (-crowd[i], i)):
        own = x, y, radius = circles[i]
        text = axes.text(0, 0, label(drawn[i]), fontsize=_FONT)
        extent = text.get_window_extent()
        text.remove()
        best = min(
            _places(x, y, radius + _GAP * pixels, extent.width, extent.height, pixels),
            key=lambda box: _cost(box, own, placed, circles, frame, lines),
        )
        placed.append(best)
        if needs_line(best, own, circles, pixels):
            lines.append(_line(best, own))
            axes.plot(*axes.transData.inverted().transform(lines[-1]).T, color="0.4", linewidth=0.6)
        at = axes.transData.inverted().transform(best[:2])
        axes.text(*at, label(drawn[i]), fontsize=_FONT, zorder=4, bbox=_UNDER_NAMES)


def label(one: Figures) -> str:
    """Returns the name that is written beside a circle."""
    return _SHORT.get(one.architecture.name, one.architecture.title)


def needs_line(box: Box, own: Circle, circles: Sequence[Circle], pixels: float) -> bool:
    """Whether it takes a line to see which circle a name is of: it does not touch it, or others overlap it."""
    x, y, radius = own
    touches = math.dist(_line(box, own)[1], (x, y)) <= radius + _GAP * pixels + 1
    return not touches or sum(math.dist((x, y), one[:2]) < radius + one[2] for one in circles) > 1


def _line(box: Box, circle: Circle) -> Line:
    """Returns the ends of the line from a circle's centre to the nearest point of a name."""
    x, y, _ = circle
    return (x, y), (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))


def _crosses(line: Line, box: Box) -> bool:
    """Whether a line goes through a box."""
    enters, leaves = 0.0, 1.0
    for axis in (0, 1):
        start, step = line[0][axis], line[1][axis] - line[0][axis]
        low, high = box[axis], box[axis + 2]
        if step == 0:
            if not low < start < high:
                return False
            continue
        first, last = sorted(((low - start) / step, (high - start) / step))
        enters, leaves = max(enters, first), min(leaves, last)
    return enters < leaves


def _meet(a: Line, b: Line) -> bool:
    """Whether two lines cross."""

    def side(line: Line, point: tuple[float, float]) -> bool:
        (x0, y0), (x1, y1) = line
        return (x1 - x0) * (point[1] - y0) > (y1 - y0) * (point[0] - x0)

    return side(a, b[0]) != side(a, b[1]) and side(b, a[0]) != side(b, a[1])


def _places(x: float, y: float, reach: float, width: float, height: float, pixels: float) -> Iterator[Box]:
    """Yields boxes for a name all around a circle, the nearest first."""
    for off in range(0, 90, 10):
        for step in range(32):
            angle = step * math.pi / 16
            dx, dy = math.cos(angle), math.sin(angle)
            at_x, at_y = x + (reach + off * pixels) * dx, y + (reach + off * pixels) * dy
            # The box touches that point with the side that faces the circle.
            left, bottom = at_x + (dx - 1) / 2 * width, at_y + (dy - 1) / 2 * height
            yield left, bottom, left + width, bottom + height


def _cost(
    box: Box,
    own: Circle,
    placed: Sequence[Box],
    circles: Sequence[Circle],
    inside: Any,  # noqa: ANN401
    lines: Sequence[Line] = (),
) -> float:
    """How bad a place is, in pixels^2: outside the axes is worst, then over names, then with a line
    through a name, then over circles, then far off."""
    left, bottom, right, top = box
    area = (right - left) * (top - bottom)
    out = left < inside.x0 or right > inside.x1 or bottom < inside.y0 or top > inside.y1
    names = [shared for other in placed if (shared := _shared(box, other))]
    line = _line(box, own)
    crossed: float = sum(_crosses(line, other) for other in placed)
    crossed += sum(max(_crosses(one, box), 0.5 * _meet(one, line)) for one in lines)
    covered = sum(_shared(box, (x - r, y - r, x + r, y + r)) for x, y, r in circles)
    distance = math.dist(((left + right) / 2, (bottom + top) / 2), own[:2])
    return area * (100 * out + 20 * len(names) + crossed) + 10 * sum(names) + covered + 8 * distance


def _shared(a: Box, b: Box) -> float:
    """Returns the area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
