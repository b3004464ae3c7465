"""``--stats``: what the pools and queues of the program's main process did, when it ends.

Each is kept until then, as its figures are asked for at the end. A queue that the program closes is
asked right before, a pool when it has ended.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.util import Finalize

from tines import _watchers

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

__all__ = ["start"]


def start() -> None:
    """Take note from now on, and print when the process ends, after its children were joined."""
    recorder = _Recorder()
    _watchers.listeners.append(recorder)
    Finalize(None, recorder.report, exitpriority=-1000)


class _Recorder:
    def __init__(self) -> None:
        self._owner = os.getpid()
        self._things: list[_watchers.Watched] = []
        self._last: dict[int, object] = {}

    def made(self, thing: _watchers.Watched) -> None:
        if os.getpid() == self._owner:
            self._things.append(thing)

    def ending(self, thing: _watchers.Watched) -> None:
        if os.getpid() == self._owner:
            self._last[id(thing)] = thing.statistics()

    def report(self) -> None:
        _watchers.listeners.remove(self)
        counts: dict[str, int] = {}
        lines = []
        for thing in self._things:
            name = type(thing).__name__
            counts[name] = counts.get(name, 0) + 1
            try:
                text = _describe(self._last.get(id(thing)) or thing.statistics())
            except (ValueError, OSError) as error:
                text = f"no figures: {error}"
            lines.append(f"  {name} {counts[name]}: {text}")
        total = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        print(f"tines: {total or 'no pools and no queues'}", *lines, sep="\n", file=sys.stderr)


def _describe(statistics: object) -> str:
    shown: tuple[str, ...]
    if hasattr(statistics, "done"):
        shown = ("processes", "done", "raised", "lost", "retried", "restarts")
    else:
        shown = ("sent", "received", "depth", "bytes")
    return ", ".join(f"{getattr(statistics, name)} {name}" for name in shown)
