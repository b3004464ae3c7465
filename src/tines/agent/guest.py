"""A process of the program's own on a node, as its agent has it, and what that process does first."""

from __future__ import annotations

import contextlib
import multiprocessing.process as std
import pickle
import signal
from typing import Any

from tines.engines.contract import Exit, Usage
from tines.engines.remote.borders import check_message
from tines.engines.remote.frames import Terms
from tines.engines.remote.processes import revived
from tines.engines.resources import cpu_seconds, own_memory
from tines.errors import EncodeError, describe_exit
from tines.wire.pickling import PICKLED
from tines.wire.tracebacks import RemoteException

__all__ = ["Guest", "be"]


class Guest:
    """See :class:`tines.engines.contract.Running`.

    Args:
        context: Starts processes.
        terms: What is said of this one.
        what: Its pickle.

    Attributes:
        pid: Its process id.
        returned: What it handed back, once it has ended.
    """

    def __init__(self, context: Any, terms: Terms, *what: object) -> None:
        self.returned: tuple[int, int, list[bytes]] | None = None
        self._process = process = context.Process(
            target=be, args=what, name=terms.name, returns=terms.returns, dies_with_parent=True
        )
        process.keep_dump = terms.keep_dump
        process.own_group = terms.own_group
        process.environment = terms.environment
        process.start()
        self.pid: int | None = process.pid

    @property
    def node_name(self) -> str:
        """See the contract."""
        return ""

    @property
    def sentinel(self) -> Any:
        """Ready once it has ended."""
        return self._process.sentinel

    def interrupt(self, order: bytes) -> bool:
        """Send SIGINT; there are no orders."""
        with contextlib.suppress(OSError, ValueError):
            self._process.interrupt()
        return True

    def terminate(self) -> None:
        """Send SIGTERM."""
        with contextlib.suppress(OSError, ValueError):
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()

    def usage(self) -> Usage:
        """See the contract."""
        return Usage() if self.pid is None else Usage(own_memory(self.pid), cpu_seconds(self.pid))

    def outcome(self) -> Exit:
        """Reap it; keep what it handed back."""
        process = self._process
        process.join()
        exitcode = process.exitcode
        dump = process.dump()
        found = process._pass_on()
        if found is not None:
            kind, failed, parts = found
            self.returned = _checked(kind, failed, [bytes(part) for part in parts])
        process.close()
        return Exit(self.pid, exitcode, dump=dump, description=describe_exit(exitcode))


def _checked(kind: int, failed: int, parts: list[bytes]) -> tuple[int, int, list[bytes]]:
    """Return what was handed back, or what says why it cannot travel."""
    try:
        check_message(kind, parts[0], parts[1:])
    except EncodeError as error:
        return PICKLED, 1, [pickle.dumps(RemoteException.capture(error))]
    return kind, failed, parts


def be(kind: int, data: bytes, buffers: list[bytes]) -> object:
    """Be the process that the program has made; what runs in a process that an agent has started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the agent ignores it
    here: Any = std.current_process()
    process = revived(kind, data, buffers, here)
    vars(std)["_current_process"] = process
    return process.run()
