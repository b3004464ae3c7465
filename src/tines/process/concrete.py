"""The process class of each start method: which ``Popen`` launches it, and what else it is.

Each is also a subclass of the standard library's class of that name, for programs that ask.
"""

from __future__ import annotations

import sys

from tines._std import standard
from tines.process.base import ManagedProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    import multiprocessing.context as std_context

    from tines.process.lifecycle.contract import Launchable, Started

    class _Nothing:
        """What the standard library's classes add for type checkers: see ``base._Base``."""

    _Process = _Nothing
    _SpawnProcess = _Nothing
    _ForkProcess = _Nothing
    _ForkServerProcess = _Nothing
else:
    std_context = standard("context")
    _Process, _SpawnProcess = std_context.Process, std_context.SpawnProcess
    if sys.platform != "win32":
        _ForkProcess, _ForkServerProcess = std_context.ForkProcess, std_context.ForkServerProcess

__all__ = ["CONCRETE", "Process", "SpawnProcess"]

_default_context = std_context._default_context


class Process(ManagedProcess, _Process):  # noqa: D101
    __doc__ = ManagedProcess.__doc__

    @staticmethod
    def _Popen(process_obj: Launchable) -> Started:  # noqa: N802
        return CONCRETE[_default_context.get_start_method()]._Popen(process_obj)


class SpawnProcess(ManagedProcess, _SpawnProcess):
    """A process that is started as a fresh interpreter."""

    @staticmethod
    def _Popen(process_obj: Launchable) -> Started:  # noqa: N802
        from tines.process.lifecycle.launch import check_guard
        from tines.process.start.popen_spawn import Popen

        check_guard()  # also where it is the standard library that starts it
        return Popen(process_obj)


CONCRETE: dict[str, type[ManagedProcess]] = {"spawn": SpawnProcess}
"""The process class of each start method this system has."""

if sys.platform != "win32":

    class ForkProcess(ManagedProcess, _ForkProcess):
        """A process that is forked from this one."""

        @staticmethod
        def _Popen(process_obj: Launchable) -> Started:  # noqa: N802
            from tines.process.start.popen_fork import Popen

            return Popen(process_obj)

    class ForkServerProcess(ManagedProcess, _ForkServerProcess):
        """A process that is forked from a warm, single-threaded server."""

        @staticmethod
        def _Popen(process_obj: Launchable) -> Started:  # noqa: N802
            from tines.process.start.popen_forkserver import Popen

            return Popen(process_obj)

    CONCRETE["fork"] = ForkProcess
    CONCRETE["forkserver"] = ForkServerProcess
