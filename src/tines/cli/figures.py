"""Numbers and names as people read them, with their units; empty where they are not known."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

__all__ = [
    "amount",
    "bytes_of",
    "count",
    "duration",
    "failed",
    "percent",
    "rate",
    "shortened",
    "sparkline",
    "took",
    "without_bars",
]

_UNITS = ("", "k", "M", "G", "T", "P")


_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = str.maketrans(_BARS, "_.-:=+*#")


def count(number: int, what: str) -> str:
    """Return a small number of something."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def percent(value: float | None) -> str:
    """Return a share that is given in percent."""
    return "" if value is None else f"{value:.0f}%"


def _figures(value: object) -> tuple[str, str] | None:
    """Return a number in three or four figures, and what multiplies it; ``None``: it is not a number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    number, unit = float(value), 0
    while abs(number) >= 9999.5 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    if number < 10 and number != int(number):
        return f"{number:.1f}", _UNITS[unit]
    return f"{number:.0f}", _UNITS[unit]


def amount(value: object, what: str) -> str:
    """Return how many there are of something."""
    figures = _figures(value)
    if figures is None:
        return ""
    return f"{''.join(figures)} {what}{'' if value == 1 else 's'}"


def rate(value: object) -> str:
    """Return how many there are in a second."""
    figures = _figures(value)
    return "" if figures is None else f"{''.join(figures)}/s"


def bytes_of(value: object) -> str:
    """Return a size."""
    figures = _figures(value)
    return "" if figures is None else f"{figures[0]} {figures[1]}B"


def failed(statistics: Mapping[str, object]) -> str:
    """Return how many tasks have failed, if any have."""
    counts = (statistics.get("raised"), statistics.get("lost"))
    total = sum(value for value in counts if isinstance(value, int))
    return amount(total, "task") if total else ""


def took(seconds: float) -> str:
    """Return how long something short took, in three figures."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 0.9995:
            number = seconds * factor
            return f"{number:,.0f} {unit}" if number >= 999.5 else f"{number:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def duration(seconds: float) -> str:
    """Return for how long something has been going on."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(min(seconds, 1e9)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s"


def shortened(command: str) -> str:
    """Return a command line without the interpreter's and the script's folders."""
    first, space, rest = command.partition(" ")
    script, space_behind, arguments = rest.partition(" ")
    return f"{os.path.basename(first)}{space}{os.path.basename(script)}{space_behind}{arguments}"


def sparkline(values: Sequence[float]) -> str:
    """Return values as a small curve, from 0 to the largest; empty before there is one to be seen."""
    top = max(values, default=0.0)
    if len(values) < 3 or top <= 0:
        return ""
    return "".join(_BARS[round(max(value, 0.0) / top * (len(_BARS) - 1))] for value in values)


def without_bars(text: str) -> str:
    """Return a text with its curves in the letters that every terminal has."""
    return text.translate(_PLAIN_BARS)
