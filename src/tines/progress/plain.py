"""Plain lines, for logs and for terminals without rich: more seldom the longer it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from tines.progress.contract import Line
from tines.progress.lines import amount, clock, speed, troubles

__all__ = ["PlainDisplay", "text"]

FIRST = 2.0
LONGEST = 60.0


class PlainDisplay:
    """Writes a line after 2, 6, 14, 30... seconds, at least each minute, and one at the end."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._due: dict[int, tuple[float, float]] = {}

    def draw(self, lines: Sequence[Line]) -> None:
        """See :class:`tines.progress.contract.Display`."""
        texts = []
        for line in lines:
            when, pause = self._due.get(line.key, (FIRST, FIRST))
            if line.over:
                self._due.pop(line.key, None)
                texts.append(text(line))
            elif line.elapsed >= when:
                pause = min(2 * pause, LONGEST)
                self._due[line.key] = (line.elapsed + pause, pause)
                texts.append(text(line))
        if texts:
            # In one piece, so that lines of several processes stay lines.
            self._file.write("".join(f"{each}\n" for each in texts))
            self._file.flush()

    def close(self) -> None:
        """See :class:`tines.progress.contract.Display`."""


def text(line: Line) -> str:
    """Return a line as plain text."""
    parts = [f"{line.description}: {amount(line)}", speed(line.rate)]
    if line.over:
        parts.append(f"took {clock(line.elapsed)}")
    elif line.remaining is not None:
        parts.append(f"{clock(line.remaining)} left")
    return ", ".join([*parts, *troubles(line)])
