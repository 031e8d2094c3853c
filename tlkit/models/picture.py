"""Architectures as a picture: published accuracy against multiply-accumulates, area as parameters."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tlkit.errors import OptionError
from tlkit.lazy import require
from tlkit.manifest import replacing
from tlkit.models.compare import Figures

FORMS = (".png", ".svg")
_AREA = 25.0  # points^2 for a million parameters
_SMALLEST = 30.0  # so that a network of few parameters is still seen
_GAP = 3.0  # points between a circle and its name
_CROWD = 60.0  # points within which circles are neighbours
_PIXELS = 150  # per inch
_FONT = 8  # points
_UNDER_NAMES = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}
_CAPTION = "Area: parameters. Accuracy on ImageNet as published; crops and averaged networks differ, see: tlkit models"

Box = tuple[float, float, float, float]  # left, bottom, right, top
Circle = tuple[float, float, float]  # x, y, radius


def draw(figures: Sequence[Figures], path: Path) -> None:
    """Draws what has a published top-1 accuracy and a count of MACs; the file's ending says PNG or SVG.

    Raises:
        OptionError: neither `.png` nor `.svg`, or nothing can be drawn.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMS:
        raise OptionError(f"--picture takes a file that ends in {' or '.join(FORMS)}, not {path.name!r}.")
    drawn = [one for one in figures if one.macs and one.accuracy and one.accuracy.top1 is not None]
    if not drawn:
        names = ", ".join(one.architecture.name for one in figures)
        raise OptionError(f"None of {names} has a published top-1 accuracy for these options: nothing to draw.")
    backend = require("matplotlib.backends.backend_agg", extra="plot")
    figure = require("matplotlib.figure", extra="plot").Figure(figsize=(9, 6), layout="constrained", dpi=_PIXELS)
    backend.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    families = list(dict.fromkeys(one.architecture.family for one in drawn))
    for one in sorted(drawn, key=lambda one: -one.parameters):  # or the large ones would hide the small ones
        colour = f"C{families.index(one.architecture.family) % 10}"
        axes.scatter(*_point(one), s=_area(one), color=colour, alpha=0.5, linewidths=0.8, edgecolors="white")
        axes.scatter(*_point(one), s=3, color="0.2")
    axes.set(xscale="log", xlabel="million MACs for one image (logarithmic)", ylabel="top-1 accuracy, %")
    axes.margins(0.16)
    axes.grid(alpha=0.25)
    axes.set_title(_CAPTION, fontsize=8, color="0.35", loc="left")
    _write_names(axes, drawn)
    form = path.suffix.lower()[1:]
    # Without the date and with names that are not drawn by chance, the same figures make the same file.
    with replacing(path) as temporary, require("matplotlib", extra="plot").rc_context({"svg.hashsalt": "tlkit"}):
        figure.savefig(temporary, format=form, metadata={"Date": None} if form == "svg" else None)


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
    pixels = _PIXELS / 72
    circles = []
    for one in drawn:
        x, y = axes.transData.transform(_point(one))
        radius = math.sqrt(_area(one) / math.pi) * pixels
        circles.append((x, y, radius))
    inside = axes.get_window_extent()
    placed: list[Box] = []
    # Those with the most neighbours choose first.
    crowd = [sum(math.dist(a[:2], b[:2]) < _CROWD * pixels for b in circles) for a in circles]
    for i in sorted(range(len(drawn)), key=lambda i: (-crowd[i], i)):
        x, y, radius = circles[i]
        text = axes.text(0, 0, drawn[i].architecture.title, fontsize=_FONT)
        extent = text.get_window_extent()
        text.remove()
        best = min(
            _places(x, y, radius + _GAP * pixels, extent.width, extent.height, pixels),
            key=lambda box: _cost(box, (x, y, radius), placed, circles, inside),
        )
        placed.append(best)
        left, bottom, right, top = best
        near = min(max(x, left), right), min(max(y, bottom), top)
        if math.dist(near, (x, y)) > radius + 3 * _GAP * pixels:
            ends = axes.transData.inverted().transform([(x, y), near])
            axes.plot(*ends.T, color="0.5", linewidth=0.6)
        at = axes.transData.inverted().transform((left, bottom))
        axes.text(*at, drawn[i].architecture.title, fontsize=_FONT, zorder=4, bbox=_UNDER_NAMES)


def _places(x: float, y: float, reach: float, width: float, height: float, pixels: float) -> Iterator[Box]:
    """Yields boxes for a name all around a circle, the nearest first."""
    for off in range(0, 90, 10):
        for step in range(16):
            angle = step * math.pi / 8
            dx, dy = math.cos(angle), math.sin(angle)
            at_x, at_y = x + (reach + off * pixels) * dx, y + (reach + off * pixels) * dy
            # The box touches that point with the side that faces the circle.
            left, bottom = at_x + (dx - 1) / 2 * width, at_y + (dy - 1) / 2 * height
            yield left, bottom, left + width, bottom + height


def _cost(box: Box, own: Circle, placed: Sequence[Box], circles: Sequence[Circle], inside: Any) -> float:  # noqa: ANN401
    """How bad a place is, in pixels^2: outside the axes is worst, then over names, then over circles, then far off."""
    left, bottom, right, top = box
    area = (right - left) * (top - bottom)
    out = left < inside.x0 or right > inside.x1 or bottom < inside.y0 or top > inside.y1
    names = sum(_shared(box, other) for other in placed)
    covered = sum(_shared(box, (x - r, y - r, x + r, y + r)) for x, y, r in circles)
    distance = math.dist(((left + right) / 2, (bottom + top) / 2), own[:2])
    return 100 * area * out + 10 * names + covered + 2 * distance


def _shared(a: Box, b: Box) -> float:
    """Returns the area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
