"""What a process object and the ``Popen`` that launches it ask of each other: for types, nothing here runs.

``base`` has the process objects and ``start/`` the ``Popen`` classes; each of the two knows the other by
what is written here only. Some names are private because the standard library calls them so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tines.process.lifecycle.box import Box
    from tines.process.stacks import Stacks

__all__ = ["Launchable", "Started"]


class Launchable(Protocol):
    """A process object, to whoever launches it, and in the child to whoever has it live."""

    name: str
    returns: bool
    environment: Mapping[str, str] | None
    own_group: bool
    inherits_family: bool
    _bound: bool
    _box: Box | None
    _stacks: Stacks | None
    _setups: list[Callable[[], None]]
    _start_method: str | None
    _parent_pid: int
    _parent_name: str

    def run(self) -> object:
        """Do what the process is for."""

    def _listen(self) -> None:
        """Answer in the child when it is asked for its stacks."""

    def _keep_outcome(self) -> None:
        """Have ``run()`` put its outcome into the box."""


class Started(Protocol):
    """A child that was launched, to its process object."""

    pid: int
    sentinel: int
    returncode: int | None

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while the child runs."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the child; return its exit code, or ``None`` if it still runs."""

    def send_signal(self, signum: int) -> None:
        """Send a signal to the child alone, unless it has ended."""

    def interrupt(self) -> None:
        """Send SIGINT."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""
