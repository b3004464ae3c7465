"""What is answered: programs are asked when somebody asks here, and not more often than need be."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable

from tines import _clock
from tines.cli import top
from tines.cli.dashboard import metrics, page
from tines.cli.dashboard.history import History
from tines.cli.stacks import stacks_of
from tines.cli.top_model import Tracker, View, arranged
from tines.insight.reader import Reader, Untrusted

__all__ = ["Watcher"]

FRESH = 0.5
"""Less than the time from one question of a page to its next."""


class Watcher:
    """Looks at programs. Any thread may ask.

    Args:
        reader: What asks them; closed with this.
        fresh: Seconds for which a look serves everybody.
    """

    def __init__(self, reader: Reader, fresh: float = FRESH) -> None:
        self._reader = reader
        self._fresh = fresh
        self._tracker = Tracker(top.processes())
        self._history = History()
        self._view = View()
        self._trouble: str | None = None
        self._looked = float("-inf")
        self._rendered: dict[str, str] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Leave nothing behind. What is asked afterwards is answered from the last look."""
        with self._lock:
            self._looked = float("inf")
            self._reader.close()

    def html(self) -> str:
        """Return the part of the page that changes."""
        return self._answer(
            "html", lambda: page.view(self._view, self._history, trouble=self._trouble)
        )

    def json(self) -> str:
        """Return everything, with the names that ``tines top --json`` has."""
        return self._answer("json", self._as_json)

    def metrics(self) -> str:
        """Return figures in the text format of Prometheus."""
        return self._answer("metrics", lambda: metrics.text_of(self._view))

    def stacks(self, pid: int, timeout: float) -> str | None:
        """Return the stacks of a program or a worker; see :func:`tines.cli.stacks.stacks_of`.

        ``None`` also for a process that is neither.
        """
        with self._lock:
            self._look()
            programs = self._view.programs
            known = {program.pid for program in programs}
            known.update(w.pid_here for p in programs for w in p.workers if w.pid_here is not None)
        return stacks_of(pid, timeout) if pid in known else None

    def _answer(self, name: str, render: Callable[[], str]) -> str:
        with self._lock:
            self._look()
            if name not in self._rendered:
                self._rendered[name] = render()
            return self._rendered[name]

    def _look(self) -> None:
        if _clock.monotonic() - self._looked < self._fresh:
            return
        self._trouble = None
        try:
            sample = self._reader.sample()
        except Untrusted as error:
            self._trouble = top.untrusted(error)
        except OSError as error:
            self._trouble = f"{self._reader.directory} cannot be read: {error.strerror or error}"
        else:
            self._view = arranged(self._tracker.view(sample), "pid")
            self._history.add(self._view, _clock.monotonic())
        if self._trouble is not None:
            self._view = View()
        self._rendered.clear()
        self._looked = _clock.monotonic()

    def _as_json(self) -> str:
        told = {
            "format": top.FORMAT,
            "time": time.time(),
            "trouble": self._trouble,
            **dataclasses.asdict(self._view),
            "events": [dataclasses.asdict(event) for event in self._history.events],
        }
        return json.dumps(told)
