"""Who is told of what this process makes: its queues and pools, and the processes that it starts.

This lies below everything, so that whoever makes something need not know who wants to hear of it. What a
pool does while it works is told elsewhere (``pool/events.py``), to those who subscribe there. Nobody listens
unless there is a reason to: ``tines --stats`` and ``tines top`` listen to queues and pools, a trace to
processes. Called in the thread where it happens.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Started(Protocol):
        """A process that was started."""

        @property
        def name(self) -> str: ...
        @property
        def pid(self) -> int | None: ...

    class Watched(Protocol):
        """A queue or a pool."""

        def statistics(self) -> object:
            """Return its figures."""

    class Listener(Protocol):
        """Somebody who wants to know of queues and pools."""

        def made(self, thing: Watched) -> None:
            """Hear of a new queue or pool."""

        def ending(self, thing: Watched) -> None:
            """Hear that this process is about to let go of a queue, or that a pool has ended."""

    class ProcessObserver(Protocol):
        """Somebody who wants to know of processes."""

        def starting(self) -> int:
            """Hear that a process is about to be started; return what :meth:`started` is given."""

        def started(self, process: Started, began: int) -> None:
            """Hear that it was started."""

        def ended(self, pid: int, exitcode: int) -> None:
            """Hear that a process of ours has ended, and how."""


__all__ = ["listeners", "processes", "tell_ending", "tell_made"]

listeners: list[Listener] = []

processes: ProcessObserver | None = None
"""Who is told of processes, as there is one trace of a process at a time."""


def tell_made(thing: Watched) -> None:
    """Tell that there is a new queue or pool."""
    for listener in listeners:
        listener.made(thing)


def tell_ending(thing: Watched) -> None:
    """Tell that a queue is about to be closed in this process, or that a pool has ended."""
    for listener in listeners:
        listener.ending(thing)
