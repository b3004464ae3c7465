"""The one thread that shows progress, and the bars that calls hold.

The thread exists while there is a bar. It sleeps on its mailbox for the refresh interval of whoever
wants it soonest, then asks each source for its counts and has each display draw. It takes at most a
twentieth of one core, however much there is to count: what takes long is done more seldom.

All drawing is done by this thread, so a terminal that is stopped (Ctrl-S) holds up nobody but those who
wait for their bar to be closed, and them for ``PATIENCE`` at most; a display that raises is logged once
and not called again. The mailbox is a ``SimpleQueue``, which may be put to at any moment, also by the
garbage collector: so a bar can be finished wherever its last reference goes.

Lock order: the lock of ``Live`` is held for look-ups only, never while something is drawn or counted.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
from collections.abc import Hashable
from queue import Empty, SimpleQueue

from tines import _clock
from tines._fork import Rank, at_fork
from tines.progress.contract import Counts, Display, Line, Source
from tines.progress.displays import make_display, restore_streams, shared_by
from tines.progress.lines import Pace
from tines.progress.options import ProgressOptions

__all__ = ["Bar", "show"]

logger = logging.getLogger("tines.progress")

PATIENCE = 5.0
"""Seconds that somebody waits for a bar to be drawn for the last time."""

SHARE = 20

_keys = itertools.count(1)


class Bar:
    """One call on a display. Any thread may finish it, as often as it likes."""

    def __init__(
        self,
        source: Source,
        options: ProgressOptions,
        description: str,
        total: int | None,
        consumed: bool,
    ) -> None:
        self.key = next(_keys)
        self.source = source
        self.options = options
        self.description = options.description or description
        self.total = options.total if total is None else total
        self.finished = False
        self._consumed = consumed
        self.live: Live | None = None
        self._pid = os.getpid()
        self._gone = threading.Event()
        self._pace = Pace(_clock.monotonic())
        self._last = Counts(0, 0, 0, None)

    def finish(self) -> None:
        """Have it drawn for the last time, soon. Waits for nothing."""
        if not self.finished and self._pid == os.getpid():
            self.finished = True
            if self.live is not None:
                self.live.mailbox.put(None)

    def close(self) -> None:
        """Finish it, and wait until it has been drawn."""
        self.finish()
        if self.live is not None and self._pid == os.getpid() and not self.live.is_current:
            self._gone.wait(PATIENCE)

    # The display's thread.

    def line(self) -> Line:
        """Return what is to be shown now; ``over``, if this is the last."""
        finished = self.finished
        try:
            counts = self.source.counts()
            # What is on its way from one place to another may have been seen in neither.
            if counts.done < self._last.done:
                counts = counts._replace(done=self._last.done)
            self._last = counts
        except Exception:
            logger.exception(
                "%s could not be counted; its progress display was stopped", self.description
            )
            counts, finished = self._last, True
        over = finished or (counts.over and not self._consumed)
        if over:  # never the other way round: somebody may have finished it while it was counted
            self.finished = True
        total = self.total if counts.total is None else counts.total
        now = _clock.monotonic()
        return self._pace.line(self.key, self.description, counts, total, now, over)

    def gone(self) -> None:
        """It has been drawn for the last time."""
        self._gone.set()


class _Shown:
    """A display with the bars on it. Only the thread draws."""

    def __init__(self, options: ProgressOptions) -> None:
        self.options = options
        self.bars: list[Bar] = []
        self._display: Display | None = None
        self._broken = False

    def draw(self) -> list[Bar]:
        """Draw all bars; return those that were drawn for the last time."""
        bars = list(self.bars)
        lines = [bar.line() for bar in bars]
        self._guarded(lines)
        return [bar for bar, line in zip(bars, lines) if line.over]

    def close(self) -> None:
        """Close the display, if it was opened."""
        if self._display is not None:
            self._guarded(None)
            self._display = None

    def _guarded(self, lines: list[Line] | None) -> None:
        """Draw, or close; whatever a display raises is logged once, and it is not called again."""
        if self._broken:
            return
        try:
            if self._display is None:
                self._display = make_display(self.options)
            if lines is None:
                self._display.close()
            else:
                self._display.draw(lines)
        except BaseException:
            self._broken = True
            logger.exception("a progress display raised; it will not be used again")
            if lines is not None and self._display is not None:
                try:
                    self._display.close()
                except BaseException:
                    logger.debug("it could not be closed either", exc_info=True)


class Live:
    """See the module. There is one in each process."""

    def __init__(self) -> None:
        self.mailbox: SimpleQueue[None] = SimpleQueue()
        self._lock = threading.Lock()
        self._shown: dict[Hashable, _Shown] = {}
        self._thread: threading.Thread | None = None

    @property
    def is_current(self) -> bool:
        """Whether this is the display's thread: it cannot wait for itself."""
        return threading.current_thread() is self._thread

    def open(self, bar: Bar) -> None:
        """Show a bar from now on."""
        key = shared_by(bar.options)
        bar.live = self
        with self._lock:
            self._shown.setdefault(key, _Shown(bar.options)).bars.append(bar)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="tines progress", daemon=True
                )
                self._thread.start()
        self.mailbox.put(None)

    def close_all(self) -> None:
        """The interpreter ends: leave the terminal as it was."""
        with self._lock:
            bars = [bar for shown in self._shown.values() for bar in shown.bars]
            thread = self._thread
        for bar in bars:
            bar.finish()
        if thread is not None:
            thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            began = _clock.monotonic()
            pause = self._draw()
            if pause is None:
                return
            took = _clock.monotonic() - began
            try:
                self.mailbox.get(timeout=max(pause, SHARE * took))
                while True:
                    self.mailbox.get_nowait()
            except Empty:
                pass

    def _draw(self) -> float | None:
        """Draw everything; return when to come again, ``None`` if there is nothing left to show."""
        with self._lock:
            everything = list(self._shown.items())
        over: list[Bar] = []
        for key, shown in everything:
            done = shown.draw()
            over += done
            with self._lock:
                shown.bars = [bar for bar in shown.bars if bar not in done]
                empty = not shown.bars
                if empty:
                    del self._shown[key]
            if empty:
                shown.close()
        for bar in over:
            bar.gone()
        with self._lock:
            if not self._shown:
                self._thread = None
                return None
            return min(bar.options.refresh for shown in self._shown.values() for bar in shown.bars)


_live = Live()


def show(
    source: Source,
    options: ProgressOptions,
    description: str,
    total: int | None = None,
    *,
    consumed: bool = False,
) -> Bar:
    """Show how far something is until its bar is finished, or all of it is done.

    Args:
        source: Counts it.
        options: How.
        description: What to call it, if the options do not say.
        total: How many items there are, where the source itself may not know.
        consumed: Somebody takes the items one by one, who alone sees what failed, and finishes the bar.
    """
    bar = Bar(source, options, description, total, consumed)
    _live.open(bar)
    return bar


@atexit.register
def _end() -> None:
    _live.close_all()


def _after_fork_in_child() -> None:
    global _live
    _live = Live()
    restore_streams()


at_fork(Rank.DISPLAYS, child=_after_fork_in_child)
