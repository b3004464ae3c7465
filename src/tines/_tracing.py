"""Where tracing takes hold: asked when a pool or a process is made, and never for a task.

Both names are ``None`` unless this process is traced. :mod:`tines.tracing` sets them; the rooms below it
look here, so that none of them has to know it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Observer(Protocol):
        """Somebody who wants to know of processes; called in the thread where it happens."""

        def starting(self) -> int:
            """Hear that a process is about to be started; return what :meth:`started` is given."""

        def started(self, process: Any, began: int) -> None:
            """Hear that it was started."""

        def ended(self, pid: int, exitcode: int) -> None:
            """Hear that a process of ours has ended, and how."""


__all__ = ["make_core", "observer"]

make_core: Callable[..., Any] | None = None
"""Makes the inside of a pool, in place of ``tines.pool.runtime.core.Core``."""

observer: Observer | None = None
