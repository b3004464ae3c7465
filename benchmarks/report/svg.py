"""Bar charts as plain SVG; they follow the reader's light or dark colour scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

__all__ = ["HEADING", "WIDTH", "Bar", "Group", "bar_chart", "document"]

WIDTH = 760
LABEL = 210
FIGURE = 110
ROW = 22
GAP = 10
HEADING = 26

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .heading { font-weight: 600 }
  .figure { fill: #57606a }
  .other { fill: #9aa4af } .own { fill: #2f6feb } .missing { fill: #c0392b }
  .range { stroke: #24292f; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .figure { fill: #9da7b1 }
    .other { fill: #57606a } .own { fill: #4c8dff } .missing { fill: #ff7b72 }
    .range { stroke: #e6edf3 }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One bar. ``value`` is ``None`` where there is no figure; ``text`` then says why.

    ``low`` and ``high`` draw a line over the range of the samples.
    """

    label: str
    value: float | None
    text: str
    own: bool = False
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Group:
    """Bars on one scale."""

    heading: str
    bars: Sequence[Bar]


def _bar(bar: Bar, top: float, scale: float) -> list[str]:
    middle = top + ROW / 2 + 4
    parts = [f'<text x="{LABEL - 8}" y="{middle:.1f}" text-anchor="end">{escape(bar.label)}</text>']
    if bar.value is None:
        parts.append(
            f'<text class="missing" x="{LABEL}" y="{middle:.1f}">{escape(bar.text)}</text>'
        )
        return parts
    width = max(1.0, bar.value * scale)
    kind = "own" if bar.own else "other"
    parts.append(
        f'<rect class="{kind}" x="{LABEL}" y="{top + 3:.1f}" '
        f'width="{width:.1f}" height="{ROW - 6}" rx="2"/>'
    )
    end = LABEL + max(width, bar.high * scale)
    if bar.high > bar.low:
        line = top + ROW / 2
        parts.append(
            f'<line class="range" x1="{LABEL + bar.low * scale:.1f}" x2="{end:.1f}" '
            f'y1="{line:.1f}" y2="{line:.1f}"/>'
        )
    parts.append(
        f'<text class="figure" x="{end + 6:.1f}" y="{middle:.1f}">{escape(bar.text)}</text>'
    )
    return parts


def bar_chart(title: str, groups: Sequence[Group]) -> str:
    """Draw horizontal bars; each group has its own scale."""
    parts = []
    top = 38.0
    for group in groups:
        parts.append(
            f'<text class="heading" x="12" y="{top + 16:.1f}">{escape(group.heading)}</text>'
        )
        top += HEADING
        largest = max((max(bar.value or 0, bar.high) for bar in group.bars), default=0) or 1
        scale = (WIDTH - LABEL - FIGURE) / largest
        for bar in group.bars:
            parts += _bar(bar, top, scale)
            top += ROW
        top += GAP
    return document(title, parts, round(top))


def document(title: str, parts: Sequence[str], height: int, style: str = "") -> str:
    """Put parts of a drawing below a title."""
    heading = f'<text class="title" x="12" y="24">{escape(title)}</text>'
    body = "\n  ".join([heading, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label={quoteattr(title)}>\n'
        f"  <style>{STYLE}{style}  </style>\n  {body}\n</svg>\n"
    )
