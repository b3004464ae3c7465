"""Line charts as plain SVG, in the manner of the bar charts: both axes are logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.report import figures, svg

__all__ = ["Curve", "Plot", "line_chart"]

LEFT, RIGHT = 70, 210
HEIGHT = 170
LABEL_GAP = 14
STYLE = """
  .curve { fill: none; stroke-width: 2 } .own-line { stroke: #2f6feb } .other-line { stroke: #9aa4af }
  .grid { stroke: #d0d7de; stroke-width: 1 }
"""


@dataclass(frozen=True)
class Curve:
    """One line; its points by number, in order."""

    label: str
    points: Sequence[tuple[float, float]]
    own: bool = False


@dataclass(frozen=True)
class Plot:
    """Curves on one pair of axes."""

    heading: str
    curves: Sequence[Curve]


def _span(values: list[float]) -> tuple[float, float]:
    low, high = math.log10(max(min(values), 1e-3)), math.log10(max(*values, 1e-3))
    return (low, high) if high - low > 0.3 else (low - 0.3, high + 0.3)


def _plot(plot: Plot, top: float) -> list[str]:
    points = [point for curve in plot.curves for point in curve.points]
    if not points:
        return []
    sizes = sorted({x for x, _ in points})
    least, most = _span([x for x, _ in points])
    low, high = _span([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(max(x, 1e-3)) - least) / (most - least)
        up = (math.log10(max(y, 1e-3)) - low) / (high - low)
        return LEFT + across * (svg.WIDTH - LEFT - RIGHT), top + (1 - up) * HEIGHT

    parts = []
    for size in sizes:
        x, _ = place(size, 1)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + HEIGHT}"/>'
        )
        below = f'x="{x:.1f}" y="{top + HEIGHT + 16}"'
        parts.append(f'<text class="figure" {below} text-anchor="middle">{size:,.0f}</text>')
    for value in (10**low, 10**high):
        _, y = place(sizes[0], value)
        parts.append(
            f'<text class="figure" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(figures.number(value))}</text>"
        )
    last = -math.inf
    ends = sorted((place(*curve.points[-1]), curve) for curve in plot.curves if curve.points)
    for curve in plot.curves:
        kind = "own" if curve.own else "other"
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve.points))
        parts.append(f'<polyline class="curve {kind}-line" points="{line}"/>')
    for (x, y), curve in sorted(ends, key=lambda end: end[0][1]):
        last = max(y + 4, last + LABEL_GAP)
        parts.append(f'<text x="{x + 8:.1f}" y="{last:.1f}">{escape(curve.label)}</text>')
    return parts


def line_chart(title: str, plots: Sequence[Plot]) -> str:
    """Draw the plots below each other."""
    parts = []
    top = 38.0
    for plot in plots:
        parts.append(
            f'<text class="heading" x="12" y="{top + 16:.1f}">{escape(plot.heading)}</text>'
        )
        top += svg.HEADING + 6
        parts += _plot(plot, top)
        top += HEIGHT + 34
    return svg.document(title, parts, round(top), STYLE)
