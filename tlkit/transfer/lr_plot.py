"""Pictures of learning-rate sweeps: in a terminal, and as SVG."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from tlkit.transfer.lr_finder import Find

_CEILING = 1.15  # times the loss that the sweep began with: what is worse is off the picture


def in_text(find: "Find", *, width: int = 60, height: int = 12, blocks: bool = True) -> str:
    """Draws the smoothed loss against the learning rate, which is logarithmic, as lines of text.

    Args:
        find: At least two steps.
        width, height: Of the drawing, in characters.
        blocks: Whether half blocks may be used; else asterisks, with half the resolution.
    """
    low, high = _limits(find.smoothed)
    rows = 2 * height if blocks else height
    filled = [[False] * width for _ in range(rows)]
    for x, loss in enumerate(_at_columns(find.smoothed, width)):
        if loss <= high:
            filled[round((high - loss) / (high - low) * (rows - 1))][x] = True
    marked = None if find.learning_rate is None else _column(find, find.learning_rate, width)
    lines = []
    for row in range(height):
        pair = filled[2 * row : 2 * row + 2] if blocks else [filled[row]]
        cells = [_cell([half[x] for half in pair], marked=x == marked) for x in range(width)]
        loss = high - (high - low) * row / (height - 1)
        lines.append(f"{loss:>8.3g} |{''.join(cells)}".rstrip())
    first, last = f"{find.rates[0]:.0e}", f"{find.rates[-1]:.0e}"
    lines.append(" " * 9 + "+" + "-" * width)
    lines.append(" " * 10 + first + last.rjust(width - len(first)))
    return "\n".join(lines)


def _cell(halves: Sequence[bool], *, marked: bool) -> str:
    if len(halves) == 1:
        shown = "*" if halves[0] else " "
    else:
        shown = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}[halves[0], halves[1]]
    return ":" if shown == " " and marked else shown


def _limits(losses: Sequence[float]) -> tuple[float, float]:
    """Returns the loss at the bottom and at the top of a picture."""
    known = [loss for loss in losses if math.isfinite(loss)]
    low, high = min(known), min(max(known), _CEILING * known[0])
    return low, high if high > low else low + 1e-9


def _at_columns(losses: Sequence[float], width: int) -> list[float]:
    places = [x * (len(losses) - 1) / (width - 1) for x in range(width)]
    found = []
    for place in places:
        before = min(int(place), len(losses) - 2)
        a, b = losses[before], losses[before + 1]
        loss = a + (b - a) * (place - before)
        found.append(loss if math.isfinite(loss) else math.inf)
    return found


def _column(find: "Find", rate: float, width: int) -> int:
    share = math.log(rate / find.rates[0]) / math.log(find.rates[-1] / find.rates[0])
    return min(max(round(share * (width - 1)), 0), width - 1)


def svg(finds: Sequence["Find"]) -> str:
    """Draws sweeps below each other: each step's loss pale, the smoothed loss, the suggestion as an upright line."""
    width, height = 640, 300
    parts = [_panel(find, top=i * height, width=width, height=height) for i, find in enumerate(finds)]
    whole = height * len(finds)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{whole}" viewBox="0 0 {width} {whole}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{whole}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(find: "Find", *, top: int, width: int, height: int) -> str:
    left, right, upper, lower = 60, width - 20, top + 30, top + height - 40
    low, high = _limits(find.smoothed)
    decades = math.log10(find.rates[-1] / find.rates[0]) or 1.0

    def x(rate: float) -> float:
        return left + math.log10(rate / find.rates[0]) / decades * (right - left)

    def points(losses: Sequence[float]) -> str:
        kept = [(rate, loss) for rate, loss in zip(find.rates, losses, strict=True) if math.isfinite(loss)]
        heights = [upper + (high - min(max(loss, low), high)) / (high - low) * (lower - upper) for _, loss in kept]
        return " ".join(f"{x(rate):.1f},{y:.1f}" for (rate, _), y in zip(kept, heights, strict=True))

    lines = [
        f'<text x="{left}" y="{top + 18}">{escape(find.title)}: loss against learning rate</text>',
        f'<polyline points="{points(find.losses)}" fill="none" stroke="#bbbbbb"/>',
        f'<polyline points="{points(find.smoothed)}" fill="none" stroke="#1f5fbf" stroke-width="2"/>',
        f'<polyline points="{left},{upper} {left},{lower} {right},{lower}" fill="none" stroke="black"/>',
    ]
    for loss, y in ((high, upper), (low, lower)):
        lines.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{loss:.3g}</text>')
    first, last = (round(math.log10(rate)) for rate in (find.rates[0], find.rates[-1]))
    for power in range(first, last + 1):
        if left - 1 <= (at := x(10.0**power)) <= right + 1:
            lines.append(f'<text x="{at:.1f}" y="{lower + 18}" text-anchor="middle">1e{power}</text>')
    if find.learning_rate is not None:
        at = x(find.learning_rate)
        lines.append(f'<line x1="{at:.1f}" y1="{upper}" x2="{at:.1f}" y2="{lower}" stroke="#c03030"/>')
        lines.append(f'<text x="{at + 4:.1f}" y="{upper + 12}" fill="#c03030">{find.learning_rate:.2g}</text>')
    return "\n".join(lines)
