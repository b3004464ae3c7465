"""A display on tqdm's bars: one of the user's, or one for each call of a class of tqdm's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tines.progress.contract import Line

__all__ = ["TqdmDisplay"]


class Bar(Protocol):
    """What is used of tqdm's bars."""

    total: float | None

    def set_postfix(self, ordered_dict: dict[str, int], refresh: bool) -> None:
        """Show figures behind the bar."""

    def update(self, n: int) -> object:
        """Move the bar on."""

    def refresh(self) -> object:
        """Draw the bar."""

    def close(self) -> None:
        """Leave the bar as it is."""


class MakeBar(Protocol):
    """A class of tqdm's, or what makes a bar in its place."""

    def __call__(self, *, total: int | None, desc: str) -> Bar:
        """Return a new bar."""


class TqdmDisplay:
    """Moves tqdm bars.

    Args:
        bar: A bar of the user's, which stays theirs to close; calls add to it one after another.
        make: Makes a bar for a call, which is closed when the call is over. One of the two is given.
    """

    def __init__(self, bar: Bar | None = None, make: MakeBar | None = None) -> None:
        self._given = bar
        self._make = make
        # The bar of each call, and how much of it the bar has been told.
        self._bars: dict[int, tuple[Bar, int]] = {}

    def draw(self, lines: Sequence[Line]) -> None:
        """See :class:`tines.progress.contract.Display`."""
        for line in lines:
            bar, before = self._bars.get(line.key) or (self._bar(line), 0)
            if bar.total is None and line.total is not None:
                bar.total = line.total
            if line.failed or line.retried:
                troubles = {"failed": line.failed, "retried": line.retried}
                bar.set_postfix(troubles, refresh=False)
            bar.update(line.done - before)
            bar.refresh()
            self._bars[line.key] = (bar, line.done)
            if line.over:
                del self._bars[line.key]
                if self._make is not None:
                    bar.close()

    def _bar(self, line: Line) -> Bar:
        if self._make is not None:
            return self._make(total=line.total, desc=line.description)
        assert self._given is not None
        return self._given

    def close(self) -> None:
        """See :class:`tines.progress.contract.Display`."""
        bars, self._bars = self._bars, {}
        if self._make is not None:
            for bar, _ in bars.values():
                bar.close()
