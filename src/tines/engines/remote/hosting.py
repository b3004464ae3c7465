"""An agent, as the process that starts it has it: this program, or a process of an engine on another machine.

The pipe that is the agent's standard input is its line to that process. What the agent has to know is
written into it once, where nobody sees it in a list of processes. After that the pipe says only that the
process is there: when its other end is closed, however that came about, the agent ends its workers and
itself. Its other line is the stream to the program.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import weakref
from typing import Protocol

from tines._fork import Rank, at_fork
from tines.process.start import interpreter

__all__ = ["END_SECONDS", "UNREACHABLE", "Agent", "let_go_in_children", "versions"]

END_SECONDS = 5.0
"""How long an agent may take to end when it should."""

UNREACHABLE = 69
"""The exit code of an agent that cannot connect to the program."""


def versions() -> dict[str, str]:
    """Return what has to be the same in a program and its nodes: they exchange code, and pickles of ours."""
    return {
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "tines": str(sys.modules["tines"].__version__),
    }


class Agent:
    """A process that becomes an agent, and calls the program.

    Args:
        address: Where the program is.
        key: The pool's.
        name: What the node is called.

    Raises:
        StartError: there is no Python to start.
        OSError: it cannot be started.
    """

    def __init__(self, address: tuple[str, int], key: bytes, name: str) -> None:
        self._address = address
        command = interpreter.command("tines.agent.main", "main")
        told = {"address": address, "key": key.hex(), "name": name}
        reader, writer = os.pipe()
        self._line = io.FileIO(writer, "wb")
        with open(reader, "rb") as stdin:
            try:
                # Before there is an agent that may end: nobody can be told by SIGPIPE that it has.
                self._line.write(json.dumps(told).encode() + b"\n")
                self._process = subprocess.Popen(
                    command,
                    stdin=stdin,
                    # Ctrl-C is the program's business, not the nodes'.
                    start_new_session=sys.platform != "win32",
                )
            except BaseException:
                self._line.close()
                raise
        let_go_in_children(self)

    def problem(self) -> str | None:
        """Return why it will never call; ``None`` while it may, or has."""
        code = self._process.poll()
        if code is None:
            return None
        if code == UNREACHABLE:
            host, port = self._address
            return f"{platform.node()} cannot connect to this program at {host}, port {port}"
        return (
            f"agent {self._process.pid} ended with code {code}; what it printed says why, "
            f"on {platform.node()}"
        )

    def let_go(self) -> None:
        """Have it end its workers and itself, without waiting for that."""
        self._line.close()

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        return self._process.wait()

    def end(self) -> None:
        """See that it is gone, in :data:`END_SECONDS`."""
        self.let_go()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Held(Protocol):
    def let_go(self) -> None: ...


_held: weakref.WeakSet[_Held] = weakref.WeakSet()


def let_go_in_children(held: _Held) -> None:
    """Have forked children let go of a process that lives as long as somebody holds its line."""
    _held.add(held)


def _let_go_of_all() -> None:
    """In a forked child: it would keep them alive when its parent is gone."""
    for held in list(_held):
        with contextlib.suppress(OSError):
            held.let_go()


at_fork(Rank.AGENTS, child=_let_go_of_all)
