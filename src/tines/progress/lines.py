"""From counts to lines: rates, the time that is left, and how they read."""

from __future__ import annotations

from collections import deque

from tines.progress.contract import Counts, Line

__all__ = ["Pace", "amount", "clock", "speed", "troubles"]

WINDOW = 15.0
"""Seconds over which the rate is taken."""

SAMPLES = 30


class Pace:
    """How fast one call goes. Used by one thread."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._samples: deque[tuple[float, int]] = deque([(began, 0)])

    def line(
        self, key: int, description: str, counts: Counts, total: int | None, now: float, over: bool
    ) -> Line:
        """Return the line for these counts, taken at ``now``."""
        elapsed = max(now - self._began, 1e-9)
        if over:
            rate: float | None = counts.done / elapsed
        else:
            rate = self._rate(counts.done, now)
        remaining = None
        if total is not None and rate and not over:
            remaining = max(0, total - counts.done) / rate
        return Line(
            key,
            description,
            counts.done,
            counts.failed,
            counts.retried,
            total,
            elapsed,
            rate if counts.done else None,
            remaining,
            over,
        )

    def _rate(self, done: int, now: float) -> float | None:
        samples = self._samples
        if now - samples[-1][0] >= WINDOW / SAMPLES:
            samples.append((now, done))
        while len(samples) > 2 and now - samples[1][0] > WINDOW:
            samples.popleft()
        then, before = samples[0]
        return (done - before) / (now - then) if now > then else None


def amount(line: Line) -> str:
    """``1,234/10,000 (12%)``, or ``1,234/?`` where the total is not known."""
    if line.total is None:
        return f"{line.done:,}/?" if not line.over else f"{line.done:,}"
    share = f" ({100 * line.done // line.total}%)" if line.total and not line.over else ""
    return f"{line.done:,}/{line.total:,}{share}"


def clock(seconds: float | None) -> str:
    """``0:07``, ``12:00``, ``3:05:00``; ``-:--`` for what is not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed(rate: float | None) -> str:
    """``812/s``, ``3.4/s``, ``1.5M/s``; ``20.0 s each`` for what is slower than one a second."""
    if rate is None:
        return "-/s"
    if 0 < rate < 0.2:
        return f"{1 / rate:.1f} s each"
    if rate < 10:
        return f"{rate:.1f}/s"
    for limit, unit in ((1e4, ""), (1e7, "k"), (1e10, "M")):
        if rate < limit:
            return f"{rate / {'': 1, 'k': 1e3, 'M': 1e6}[unit]:,.0f}{unit}/s"
    return f"{rate:.1e}/s"


def troubles(line: Line) -> list[str]:
    """What went wrong so far, as words; empty if nothing did."""
    words = []
    if line.failed:
        words.append(f"{line.failed:,} failed")
    if line.retried:
        words.append(f"{line.retried:,} retried")
    return words
