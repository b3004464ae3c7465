"""What one bar says, whoever finishes it and whenever."""

from __future__ import annotations

import threading

from support.waiting import PATIENCE
from tines.progress import ProgressOptions
from tines.progress.contract import Counts
from tines.progress.live import Bar, show


class Nothing:
    """A display."""

    def draw(self, lines: object) -> None:
        pass

    def close(self) -> None:
        pass


class Left:
    """What a consumer leaves while it is being counted."""

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self.shown = threading.Event()

    def counts(self) -> Counts:
        self.shown.wait(PATIENCE)
        assert self.bar is not None
        self.bar.finish()
        return Counts(3, 0, 0, None)


def test_a_bar_that_is_finished_while_it_is_counted_goes() -> None:
    source = Left()
    bar = source.bar = show(source, ProgressOptions(display=Nothing()), "work", consumed=True)
    source.shown.set()
    assert bar._gone.wait(PATIENCE)
    assert bar.finished
