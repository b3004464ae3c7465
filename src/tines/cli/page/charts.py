"""Charts as SVG: a timeline, lines over time, and bars.

All are ``WIDTH`` wide and are scaled to the page. Colours are classes, which the style sheet gives for light
and for dark. What is drawn has a ``<title>``, which browsers show under the pointer and read out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from tines.cli.figures import took
from tines.cli.page.html import text
from tines.cli.page.series import Lane, Series

__all__ = ["MOST_LANES", "OUTCOMES", "histogram", "lines", "shares", "timeline"]

WIDTH = 1000
LEFT = 150
RIGHT = 14
HEIGHT = 150
LANE = 20
MOST_LANES = 64
"""How many workers are drawn; the tables have all."""
MOST_LINES = 8
OUTCOMES = ("returned", "raised", "timeout", "cancelled", "lost", "stopped", "unfinished")
"""What can become of a task; each has a colour."""


def timeline(series: Series) -> str:
    """Draw what each worker did, and when."""
    lanes = series.lanes[:MOST_LANES]
    if not lanes:
        return ""
    height = len(lanes) * LANE
    parts = list(_time_axis(series.seconds, height, series.live))
    for index, lane in enumerate(lanes):
        parts.extend(_lane(lane, index * LANE, series))
    for at in series.retries:
        x = _x(at, series.seconds)
        title = f"<title>{text(f'tried again {_when(at, series)}')}</title>"
        parts.append(f"<path class='retry' d='M{x:.1f} {height}l-4 7h8z'>{title}</path>")
    return _svg("what each worker did, over time", height + 24, parts)


def _when(at: float, series: Series) -> str:
    """Say a time."""
    return f"{series.seconds - at:.1f} s ago" if series.live else f"at {at:.3f} s"


def _lane(lane: Lane, y: int, series: Series) -> Iterator[str]:
    seconds = series.seconds
    yield _name(lane.name, y)
    begin, end = _x(lane.begin, seconds), _x(lane.end, seconds)
    yield f"<rect class='alive' x='{begin:.1f}' y='{y + 4}' width='{max(end - begin, 0.5):.1f}' height='12'/>"
    for block in lane.blocks:
        left, right = _x(block.begin, seconds), _x(block.end, seconds)
        kind = block.outcome if block.outcome in OUTCOMES else "returned"
        length = took(block.end - block.begin)
        what = block.label if block.count == 1 else f"{block.count:,} tasks"
        begun = "" if series.live else f", from {block.begin:.3f} s"
        label = f"{what}: {block.outcome}, {length}{begun}"
        yield (
            f"<rect class='{kind}' x='{left:.1f}' y='{y + 3}' width='{max(right - left, 0.6):.1f}' "
            f"height='14'><title>{text(label)}</title></rect>"
        )
    for mark in lane.marks:
        x = _x(mark.at, seconds)
        kind = "died" if mark.kind == "death" else "told"
        yield (
            f"<path class='{kind}' d='M{x - 4:.1f} {y + 5}l8 10m0 -10l-8 10'>"
            f"<title>{text(f'{mark.label}, {_when(mark.at, series)}')}</title></path>"
        )


def lines(
    label: str,
    unit: str,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    seconds: float,
    *,
    divisor: float = 1.0,
    live: bool = False,
) -> str:
    """Draw values over time.

    Args:
        label: What they are, for those who do not see it.
        unit: What they are counted in.
        curves: By name, when there was how much.
        seconds: How long it took.
        divisor: What a unit is.
        live: The end is now; see :class:`Series`.
    """
    drawn = {name: points for name, points in curves.items() if points}
    # Those that come to the most, if there are too many to be told apart.
    shown = sorted(drawn, key=lambda name: -max(value for _, value in drawn[name]))[:MOST_LINES]
    if not shown:
        return ""
    top = _round_up(max(value for name in shown for _, value in drawn[name]) / divisor)
    parts = [*_time_axis(seconds, HEIGHT, live), *_value_axis(top, unit)]
    for index, name in enumerate(shown):
        path = " ".join(
            f"{_x(at, seconds):.1f},{HEIGHT * (1 - value / divisor / top):.1f}"
            for at, value in drawn[name]
        )
        most = max(value for _, value in drawn[name]) / divisor
        title = text(f"{name}: at most {most:,.4g} {unit}")
        parts.append(
            f"<polyline class='line c{index}' points='{path}'><title>{title}</title></polyline>"
        )
    names = "".join(
        f"<li><i class='c{index}'></i>{text(name)}</li>" for index, name in enumerate(shown)
    )
    if len(drawn) > len(shown):
        names += f"<li>and {len(drawn) - len(shown)} more with less</li>"
    return f"{_svg(label, HEIGHT + 24, parts)}<ul class='legend'>{names}</ul>"


def histogram(bars: Sequence[tuple[float, float, int]]) -> str:
    """Draw how many tasks took how long."""
    if not bars:
        return ""
    top = _round_up(max(count for _, _, count in bars))
    width = (WIDTH - LEFT - RIGHT) / len(bars)
    parts = list(_value_axis(top, "tasks"))
    every = math.ceil(len(bars) / 8)
    for index, (low, high, count) in enumerate(bars):
        x = LEFT + index * width
        height = HEIGHT * count / top
        title = text(f"{count:,} tasks took {took(low)} to {took(high)}")
        parts.append(
            f"<rect class='returned' x='{x + 1:.1f}' y='{HEIGHT - height:.1f}' "
            f"width='{max(width - 2, 1):.1f}' height='{height:.1f}'><title>{title}</title></rect>"
        )
        if index % every == 0:
            parts.append(f"<text x='{x:.1f}' y='{HEIGHT + 16}'>{text(took(low))}</text>")
    return _svg("how many tasks took how long", HEIGHT + 24, parts)


def shares(rows: Sequence[tuple[str, Sequence[tuple[str, str, float]]]]) -> str:
    """Draw what each worker's time went to: a row of ``(class, name, share)`` for each."""
    parts = []
    for index, (name, parts_of) in enumerate(rows[:MOST_LANES]):
        y = index * LANE
        parts.append(_name(name, y))
        x = float(LEFT)
        for kind, what, share in parts_of:
            width = (WIDTH - LEFT - RIGHT) * min(max(share, 0.0), 1.0)
            title = text(f"{name}: {what} {share:.1%}")
            parts.append(
                f"<rect class='{kind}' x='{x:.1f}' y='{y + 3}' width='{width:.1f}' height='14'>"
                f"<title>{title}</title></rect>"
            )
            x += width
    height = min(len(rows), MOST_LANES) * LANE
    return _svg("what each worker's time went to", height, parts) if rows else ""


def _name(name: str, y: int) -> str:
    """Write what a lane is called before it."""
    shown = name if len(name) <= 24 else f"{name[:23]}…"
    return f"<text class='name' x='{LEFT - 8}' y='{y + 14}'>{text(shown)}</text>"


def _svg(label: str, height: float, parts: Sequence[str]) -> str:
    return (
        f"<div class='wide' tabindex='0'><svg role='img' aria-label='{text(label)}' "
        f"viewBox='0 0 {WIDTH} {height:g}'>{''.join(parts)}</svg></div>"
    )


def _x(at: float, seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at / seconds, 0.0), 1.0)


def _time_axis(seconds: float, height: float, live: bool = False) -> Iterator[str]:
    step = _round_up(seconds / 8)
    for number in range(int(seconds / step + 1e-9) + 1):
        passed = number * step
        if live:
            x, label = _x(seconds - passed, seconds), f"-{took(passed)}" if number else "now"
        else:
            x, label = _x(passed, seconds), took(passed) if number else "0"
        side = " class='name'" if live and not number else ""
        yield f"<path class='grid' d='M{x:.1f} 0V{height}'/>"
        yield f"<text{side} x='{x:.1f}' y='{height + 16}'>{text(label)}</text>"


def _value_axis(top: float, unit: str) -> Iterator[str]:
    for part in (0.0, 0.5, 1.0):
        y = HEIGHT * (1 - part)
        yield f"<path class='grid' d='M{LEFT} {y:.1f}H{WIDTH - RIGHT}'/>"
        label = text(f"{top * part:,.4g} {unit}")
        yield f"<text class='name' x='{LEFT - 8}' y='{max(y, 10):.1f}'>{label}</text>"


def _round_up(value: float) -> float:
    """Return the next number that is 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))
