"""``Process`` on a node: the process object of the program, for one that an agent has started.

The object is pickled at ``start()`` and unpickled by the process itself, on its node; the agent only passes
it on. What has become of it comes back when it has ended: its exit code, what it returned, the stacks of a
crash. If its node is lost, nobody knows how it ended: the exit code is :data:`UNKNOWN`.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from tines import _clock
from tines._ready import ready_among
from tines.engines.remote.borders import check
from tines.engines.remote.frames import Terms
from tines.errors import NodeLostError, ProcessLostError
from tines.process.base import ManagedProcess
from tines.wire import pickling

if TYPE_CHECKING:
    from tines.engines.remote.cluster import Cluster
    from tines.engines.remote.workers import RemoteWorker
    from tines.process.lifecycle.contract import Launchable, Started

__all__ = ["UNKNOWN", "NodeProcess", "revived"]

UNKNOWN = 255
"""Exit code of a process whose status nobody has, as of one on this machine that somebody else collected."""

_STAYS = frozenset(("_bound", "_box", "_finalize", "_outcome", "_popen", "_setups", "_stacks"))
"""What of a process object belongs to the program."""


class NodeProcess(ManagedProcess):
    """A process on a node. Each context has a subclass, whose nodes those are."""

    _cluster: ClassVar[Cluster]

    @property
    def node(self) -> str | None:
        """The name of the node that it was started on; ``None`` before that."""
        remote: Any = self._popen
        return None if remote is None else remote.worker.node.name

    @staticmethod
    def _Popen(process_obj: Any) -> Started:  # noqa: N802
        return RemotePopen(process_obj, type(process_obj)._cluster)

    def _make_ends(self) -> None:
        if self.returns or self.keep_dump:
            box: Any = _RemoteBox()
            self._box = box

    def stacks(self, timeout: float = 5.0) -> str:
        """Refuse: a process is asked for its stacks by a signal and shared memory.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"{self.name} is on another node, and can only be asked for its stacks there"
        )

    def _get_outcome(self, verb: str, timeout: float | None) -> tuple[object, BaseException | None]:
        value, error = super()._get_outcome(verb, timeout)
        remote: Any = self._popen
        if isinstance(error, ProcessLostError) and remote.exit.node is not None:
            error = NodeLostError(
                f"process {self.name} (pid {self.pid}) {remote.exit.description} before it returned a result",
                node=remote.exit.node,
            )
        return value, error


def _shipped(process: Any) -> tuple[int, bytes, list[bytes]]:
    """Return the pickle of a process object.

    Raises:
        EncodeError: something in it cannot be pickled, or belongs to this machine.
    """
    state = {name: value for name, value in vars(process).items() if name not in _STAYS}
    state["_config"] = {name: value for name, value in process._config.items() if name != "authkey"}
    own = type(process)
    made = NodeProcess if "_cluster" in vars(own) else own
    kind, data, buffers = pickling.encode((made, state))
    check(data, buffers)
    return kind, bytes(data), [bytes(buffer) for buffer in buffers]


def revived(kind: int, data: bytes, buffers: list[bytes], here: Any) -> Any:
    """Return the process object, on its node.

    Args:
        kind: Of the pickle.
        data: The pickle.
        buffers: What belongs to it.
        here: The process object by which the agent has started this process.
    """
    made, state = pickling.decode(kind, data, buffers)
    process = made.__new__(made)
    vars(process).update(state)
    process._config = {**here._config, **state["_config"]}
    process._popen = process._box = process._stacks = process._outcome = None
    process._bound, process._setups = here._bound, []
    process._parent_pid, process._parent_name = here._parent_pid, here._parent_name
    return process


class _RemoteBox:
    """See :class:`tines.process.lifecycle.box.Box`, of which it has the parent's side."""

    def __init__(self) -> None:
        self.worker: RemoteWorker | None = None

    def outcome(self) -> tuple[int, int, list[bytes]] | None:
        """Return ``(kind, failed, parts)``, or ``None`` if nothing was handed over."""
        return None if self.worker is None else self.worker.returned

    def dump(self) -> str | None:
        """Return the stacks of a crash."""
        exit = None if self.worker is None else self.worker.exit
        return None if exit is None else exit.dump

    def close(self) -> None:
        """Do nothing."""


class RemotePopen:
    """See :class:`tines.process.lifecycle.contract.Started`.

    Attributes:
        worker: What the hub knows it by.
    """

    method = "node"

    def __init__(self, process: Launchable, cluster: Cluster) -> None:
        any_process: Any = process
        terms = Terms(
            process.name,
            process.returns,
            any_process.keep_dump,
            process.own_group,
            None if process.environment is None else dict(process.environment),
        )
        self.worker = cluster.run(terms, *_shipped(process))
        self.pid = self.worker.pid or 0
        self.sentinel = self.worker.sentinel
        self.returncode: int | None = None
        self._owner = os.getpid()
        self._discard = weakref.finalize(self, self.worker.discard)
        self._discard.atexit = False
        box: Any = process._box
        if box is not None:
            box.worker = self.worker

    @property
    def exit(self) -> Any:
        """How it ended; ``None`` while it runs."""
        return self.worker.exit

    def poll(self, flag: int = os.WNOHANG if hasattr(os, "WNOHANG") else 1) -> int | None:
        """Return the exit code, or ``None`` while it runs."""
        return self.wait(0.0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end; return its exit code, or ``None`` if it still runs."""
        if self.returncode is not None or self._owner != os.getpid():
            return self.returncode
        exit = self.worker.exit
        if exit is None and (timeout is None or timeout > 0):
            ready_among((self.sentinel,), _clock.deadline_after(timeout))
            exit = self.worker.exit
        if exit is not None:
            self.returncode = UNKNOWN if exit.exitcode is None else exit.exitcode
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Refuse; the signals that there are words for are sent."""
        raise NotImplementedError("only some signals can be sent to another node")

    def interrupt(self) -> None:
        """Have its node send SIGINT."""
        if self._owner == os.getpid():
            self.worker.interrupt(b"")

    def terminate(self) -> None:
        """Have its node send SIGTERM."""
        if self._owner == os.getpid():
            self.worker.terminate()

    def kill(self) -> None:
        """Have its node send SIGKILL."""
        if self._owner == os.getpid():
            self.worker.kill()

    def close(self) -> None:
        """Let go of the sentinel."""
        self._discard()
