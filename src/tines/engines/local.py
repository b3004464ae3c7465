"""Workers as child processes of this one, by any start method.

Orders travel through a pipe of the worker's own, followed by SIGINT: so an order always names what
it is about, and a signal that arrives too late interrupts nothing else.

A worker that is not forked imports the main module, and if that makes a pool when it is imported, no
worker will ever start. Each of them would print the same traceback. Instead a worker that fails for
this reason ends with an exit code of its own and without a word, and the pool says it once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tines import transport
from tines._fork import Rank, at_fork
from tines.engines import orders
from tines.engines.contract import Exit, NodeInfo, Usage
from tines.engines.resources import cpu_seconds, own_memory
from tines.engines.worker_process import ProcessObject, WorkerProcess
from tines.errors import describe_exit
from tines.process.lifecycle import launch

if TYPE_CHECKING:
    from tines.engines.contract import Running
    from tines.transport.contract import Transport

__all__ = ["LocalEngine"]

_GUARD = launch.with_guard(
    "workers import the main module, and it makes a pool when it is imported, so each of them would make "
    "one as well, without end. Make it only where the module is run as the program:",
    "workers",
)


class LocalEngine:
    """Starts daemonic processes.

    Args:
        context: Has the class ``Process``; one of tines' contexts, or of ``multiprocessing``'s.
        method: How it starts processes.
        make: Called with the context and what its class of processes is called with; makes a process.
        name: What "Process" in a process's own name becomes, whoever asks for the worker.
    """

    def __init__(
        self,
        context: object,
        method: str,
        make: Callable[..., ProcessObject] | None = None,
        name: str | None = None,
    ) -> None:
        self.context = context
        self._make = make or _of_the_context
        self._name = name
        self.method = method
        self.copies = method == "fork"
        self.warm = method != "spawn"
        self._kills = _Kills()

    def transport(self) -> Transport:
        """Return the transport of this process."""
        return transport.chosen()

    def expect(self, modules: Iterable[str]) -> None:
        """Have warm interpreters import these; see the contract."""
        for module in modules:
            launch.make_ready(module)

    def watch(self) -> None:
        """Begin to watch over workers; see the contract."""
        self._kills.begin()

    def nodes(self, workers: Iterable[Running]) -> tuple[NodeInfo, ...]:
        """Return this machine; see the contract."""
        import socket

        pids = tuple(each.pid for each in workers if each.pid is not None)
        return (NodeInfo(socket.gethostname(), "", os.getpid(), pids, "alive"),)

    def start(
        self,
        name: str,
        target: Callable[..., object],
        args: tuple[object, ...],
        environment: Mapping[str, str],
    ) -> LocalWorker:
        """Start a process; see the contract."""
        reader, writer = (None, None) if sys.platform == "win32" else _pipe()
        args = (None if reader is None else orders.Orders(reader), *args)
        if not self.copies:
            environment = {**environment, launch.STARTING: "1"}
            target, args = orders.run, (target, *args)
        process = self._make(self.context, target=target, args=args)
        process.name = process.name.replace("Process", self._name or name)
        process.daemon = True
        # tines' own processes lead a group, so that what a task started ends with it, keep the stacks
        # of a crash for the error that reports it, and end with this process, daemonic or not. The
        # standard library's know nothing of that, nor of the environment, which the worker then sets
        # itself, a little later.
        process.own_group = process.keep_dump = process.dies_with_parent = True
        process.environment = environment
        try:
            process.start()
        except BaseException:
            if writer is not None:
                writer.close()
            raise
        finally:
            if reader is not None:
                os.close(reader)
        return LocalWorker(process, writer, self._kills)


def _of_the_context(context: Any, **arguments: object) -> ProcessObject:
    process: ProcessObject = context.Process(**arguments)
    return process


def _pipe() -> tuple[int, io.FileIO]:
    """Make a pipe for orders, which a worker can look into without waiting."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return reader, io.FileIO(writer, "wb")


class LocalWorker:
    """A running process; see :class:`tines.engines.contract.Running`.

    Attributes:
        pid: Its process id.
        process: What others may see of the process.
        node_name: None: it is on this machine.
    """

    node_name = None

    def __init__(self, process: ProcessObject, control: io.FileIO | None, kills: _Kills) -> None:
        self._process = process
        self.process = WorkerProcess(process)
        self._control = control
        self._kills = kills
        self._kills_before = kills.known
        self._asked_to_end = False
        self.pid: int | None = process.pid
        if control is not None:
            _controls.add(control)

    @property
    def sentinel(self) -> int:
        """Ready once the process has ended."""
        return self._process.sentinel

    def interrupt(self, order: bytes) -> bool:
        """Send an order and SIGINT."""
        if self._control is None or not hasattr(self._process, "interrupt"):
            return False
        try:
            self._control.write(orders.frame(order))
            self._process.interrupt()
        except (OSError, ValueError):
            return True  # it has just ended, which will be noticed
        return True

    def terminate(self) -> None:
        """Send SIGTERM, once: a second would interrupt a handler that cleans up after the first."""
        if self._asked_to_end:
            return
        self._asked_to_end = True
        with contextlib.suppress(OSError, ValueError):
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()

    def usage(self) -> Usage:
        """Ask the system; see the contract."""
        if self.pid is None:
            return Usage()
        return Usage(own_memory(self.pid), cpu_seconds(self.pid))

    def outcome(self) -> Exit:
        """Reap the process and close everything."""
        self._process.join()
        exitcode = self._process.exitcode
        dump = None
        if exitcode != 0 and hasattr(self._process, "dump"):
            dump = self._process.dump()
        if self._control is not None:
            self._control.close()
            _controls.discard(self._control)
        self.process.ended(exitcode)
        self._process.close()
        return Exit(
            pid=self.pid,
            exitcode=exitcode,
            dump=dump,
            out_of_memory=exitcode == -9 and self._kills.since(self._kills_before),
            never_starts=_GUARD if exitcode == launch.UNGUARDED else None,
            description=describe_exit(exitcode),
        )


# Write ends of control pipes: forked children have no use for them.
_controls: set[io.FileIO] = set()


def _close_controls() -> None:
    for control in _controls:
        control.close()
    _controls.clear()


at_fork(Rank.ENGINE, child=_close_controls)


class _Kills:
    """How many processes the kernel has killed for memory, as of the last look.

    It takes long to look, compared with starting a process: only a death is worth it, and the first
    workers do not wait for the first look.
    """

    def __init__(self) -> None:
        self.first = self.known = -1

    def begin(self) -> None:
        """Look for the first time."""
        self.first = self.look()

    def since(self, known: int) -> bool:
        """Whether there were more, since the time when so many were known."""
        return self.look() > (self.first if known < 0 else known)

    def look(self) -> int:
        """Return how many they are now."""
        self.known = _out_of_memory_kills()
        return self.known


def _out_of_memory_kills() -> int:
    """How many processes the kernel has killed for memory, in our cgroup or else on this machine."""
    for path in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        with contextlib.suppress(OSError, ValueError), open(path, "rb", buffering=0) as file:
            _, found, rest = file.read().partition(b"\noom_kill ")
            if found:
                return int(rest.split(None, 1)[0])
    return 0
