"""A worker's process, for those who look at it from outside, also after it was closed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ProcessObject", "WorkerProcess"]


class ProcessObject(Protocol):
    """What an engine needs of a process object: ours, or one of ``multiprocessing``'s.

    On the latter the last four are only set, and nobody looks at them.
    """

    name: str
    daemon: bool
    own_group: bool
    keep_dump: bool
    dies_with_parent: bool | None
    environment: Mapping[str, str] | None

    @property
    def pid(self) -> int | None:
        """Its process id, once it has been started."""

    @property
    def exitcode(self) -> int | None:
        """How it ended; ``None`` while it runs."""

    @property
    def sentinel(self) -> int:
        """Ready once it has ended."""

    def start(self) -> None:
        """Start it."""

    def is_alive(self) -> bool:
        """Return whether it runs."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""

    def close(self) -> None:
        """Let go of what belongs to it."""


class WorkerProcess:
    """What a process object says and does, without its end: whoever watches over workers closes theirs.

    Attributes:
        pid: Its process id.
        name: Its name.
    """

    def __init__(self, process: ProcessObject) -> None:
        self._process = process
        self._exitcode: int | None = None
        self.pid: int | None = process.pid
        self.name: str = process.name

    def ended(self, exitcode: int | None) -> None:
        """Keep how it ended: it is about to be closed."""
        self._exitcode = exitcode

    @property
    def ident(self) -> int | None:
        """Its process id."""
        return self.pid

    @property
    def exitcode(self) -> int | None:
        """How it ended; ``None`` while it runs."""
        try:
            exitcode: int | None = self._process.exitcode
        except ValueError:
            return self._exitcode
        return exitcode

    def is_alive(self) -> bool:
        """Return whether it runs."""
        try:
            return bool(self._process.is_alive())
        except ValueError:
            return False

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        with contextlib.suppress(ValueError):
            self._process.join(timeout)

    def terminate(self) -> None:
        """Ask it to end."""
        with contextlib.suppress(OSError, ValueError):
            self._process.terminate()

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def __repr__(self) -> str:
        state = "" if self.exitcode is None else f" ended with {self.exitcode}"
        return f"<{type(self).__name__} {self.name!r} pid={self.pid}{state}>"
