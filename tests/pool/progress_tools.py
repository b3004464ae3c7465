"""Helpers of the tests of ``progress=``: a display that keeps what it is shown."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from tines.progress import Line


class Recorder:
    """A display that keeps what it is shown."""

    def __init__(self) -> None:
        self.frames: list[list[Line]] = []
        self.closed = threading.Event()
        self.threads: set[int] = set()

    def draw(self, lines: Sequence[Line]) -> None:
        self.closed.clear()
        self.threads.add(threading.get_ident())
        self.frames.append(list(lines))

    def close(self) -> None:
        self.closed.set()

    @property
    def last(self) -> Line:
        return self.frames[-1][-1]


def no_thread() -> bool:
    return all(thread.name != "tines progress" for thread in threading.enumerate())


def figures(line: Line) -> tuple[int, int, int, int | None, bool]:
    return line.done, line.failed, line.retried, line.total, line.over
