"""Who is told of the processes that this one starts; ``None`` unless it is traced.

:mod:`tines.tracing` sets it; the rooms below it look here, so that none of them has to know it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Observer(Protocol):
        """Somebody who wants to know of processes; called in the thread where it happens."""

        def starting(self) -> int:
            """Hear that a process is about to be started; return what :meth:`started` is given."""

        def started(self, process: Any, began: int) -> None:
            """Hear that it was started."""

        def ended(self, pid: int, exitcode: int) -> None:
            """Hear that a process of ours has ended, and how."""


__all__ = ["observer"]

observer: Observer | None = None
