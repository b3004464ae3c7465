"""``tines top``: what all running tines programs of this user do, again and again.

A sample (:mod:`tines.insight.reader`) becomes a view (:mod:`.top_model`), a view becomes rows
(:mod:`.top_rows`), and a display shows them (:mod:`.top_display`).
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tines import _clock
from tines.cli import top_display, top_rows
from tines.cli.top_keys import Keys
from tines.cli.top_model import (
    SORTS,
    PoolView,
    ProgramView,
    Tracker,
    View,
    arranged,
    filtered,
)
from tines.insight.reader import Reader, Untrusted

__all__ = ["FORMAT", "NOTHING", "Options", "ended_by_signals", "processes", "run", "untrusted"]

FORMAT = 1
"""The version of what ``--json`` prints. It grows when a name goes or changes its meaning."""

_PAPER = 200
"""How wide the text is that goes to no terminal."""

NOTHING = "no tines program of yours is running (or it has made no pool and no queue)"


@dataclass(frozen=True)
class Options:
    """What was asked for: see ``tines top --help``."""

    once: bool = False
    json: bool = False
    sort: str = "time"
    interval: float = 1.0
    pid: int | None = None
    words: str = ""
    """Only what has these in the name of its program, pool, queue or running task."""


def run(options: Options) -> int:
    """Run until it is told to end; return the exit code: 1 if there is nothing to show."""
    try:
        with Reader() as reader:
            return _Top(reader, options).run()
    except NotImplementedError as error:
        print(f"tines top: {error}", file=sys.stderr)
    except Untrusted as error:
        print(f"tines top: {untrusted(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 2


def untrusted(error: Untrusted) -> str:
    """Return what is to be said of a place that is not the user's alone."""
    return (
        f"{error.filename} is {error.strerror}, so nothing in it can be trusted; "
        "remove it, or set XDG_RUNTIME_DIR to a directory of yours"
    )


def processes() -> Callable[[int], tuple[float, int] | None]:
    """Return what looks at processes: psutil if it is there, else nothing does."""
    try:
        import psutil
    except ImportError:
        return lambda pid: None

    def look(pid: int) -> tuple[float, int] | None:
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            return times.user + times.system, process.memory_info().rss
        except psutil.Error:
            return None

    return look


class _Top:
    def __init__(self, reader: Reader, options: Options) -> None:
        self._reader = reader
        self._options = options
        self._tracker = Tracker(processes())
        self._sort = options.sort
        self._selected = 0
        self._opened: tuple[int, int] | None = None

    def run(self) -> int:
        view = self._look()
        if not view.programs:
            return self._nothing(view)
        if self._options.once or self._options.json:
            return self._print_all()
        with ended_by_signals(), top_display.best() as display, Keys() as keys:
            while True:
                self._show(display, view, keys.present)
                due = _clock.monotonic() + self._options.interval
                while (key := keys.wait(due - _clock.monotonic())) is not None:
                    if key == "quit":
                        return 0
                    self._press(key, view)
                    view = arranged(view, self._sort)
                    self._show(display, view, keys.present)
                view = self._look()

    def _look(self) -> View:
        sample = self._reader.sample()
        view = self._tracker.view(sample, self._options.pid)
        if self._options.words:
            view = filtered(view, self._options.words)
        return arranged(view, self._sort)

    def _nothing(self, view: View) -> int:
        if self._options.json:
            _print_json(view)
        else:
            text = NOTHING
            if self._options.pid is not None:
                text = f"process {self._options.pid} is not a running tines program of yours"
            elif self._options.words:
                text = f"no running tines program of yours has {self._options.words!r} in its names"
            print(text)
            for why in view.unreadable:
                print(f"unreadable: {why}")
        return 1

    def _print_all(self) -> int:
        """Print a view an interval later, for its rates; then others, unless it is to be one."""
        while True:
            Keys().wait(self._options.interval)
            view = self._look()
            if self._options.json:
                _print_json(view)
            else:
                print(top_display.text(top_rows.headline(view), top_rows.overview(view), _PAPER))
            if self._options.once:
                return 0 if view.programs else 1

    def _show(self, display: top_display.Display, view: View, keys: bool) -> None:
        title = f"{top_rows.headline(view)}  by {self._sort}"
        foot = "s sort  up/down choose a pool  enter open  esc back  q quit" if keys else ""
        opened = self._find(view)
        if opened is None:
            # Without a keyboard nothing can be chosen.
            rows = top_rows.overview(view, self._selected if keys else None)
        else:
            rows = top_rows.detail(*opened)
        display.show(title, rows, foot)

    def _find(self, view: View) -> tuple[ProgramView, PoolView] | None:
        for program, pool in _pools(view):
            if (program.pid, pool.number) == self._opened:
                return program, pool
        self._opened = None
        return None

    def _press(self, key: str, view: View) -> None:
        pools = list(_pools(view))
        if key == "sort":
            self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        elif key == "back":
            self._opened = None
        elif pools:
            step = {"up": -1, "down": 1}.get(key, 0)
            self._selected = max(0, min(self._selected + step, len(pools) - 1))
            program, pool = pools[self._selected]
            if key == "enter" or (step and self._opened):
                self._opened = program.pid, pool.number


def _pools(view: View) -> Iterator[tuple[ProgramView, PoolView]]:
    for program in view.programs:
        for pool in program.pools:
            yield program, pool


def _print_json(view: View) -> None:
    print(json.dumps({"format": FORMAT, **dataclasses.asdict(view)}), flush=True)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have what would kill this process unwind it instead, so that the terminal is given back."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), leave) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
