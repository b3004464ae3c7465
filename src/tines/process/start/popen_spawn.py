"""Start a child as a fresh interpreter.

On Windows, and in a frozen program, it is the standard library that does it; the child finds our
process class when it unpickles it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Popen"]

if sys.platform == "win32":
    from multiprocessing.popen_spawn_win32 import Popen
elif getattr(sys, "frozen", False):
    from multiprocessing.popen_spawn_posix import Popen
else:
    import multiprocessing.util as util

    from tines.process import liveness
    from tines.process.lifecycle import launch
    from tines.process.start import popen, spares
    from tines.process.start.interpreter import command_line

    class Popen(popen.Popen):  # type: ignore[no-redef]
        """A child in an interpreter of its own."""

        method = "spawn"
        DupFd = launch.SameNumber

        def __init__(self, process_obj: Any) -> None:
            self._fds: list[int] = []
            super().__init__(process_obj)

        def duplicate_for_child(self, fd: int) -> int:
            """Have the child inherit a descriptor; return its number there."""
            if fd not in self._fds:  # an object may be pickled twice: by name, then by value
                self._fds.append(fd)
            return fd

        def _launch(self, process_obj: Any) -> None:
            from multiprocessing import resource_tracker

            tracker_fd: Any = resource_tracker.getfd()
            payload_fd = launch.pack(process_obj, self)
            child_end, lifeline = liveness.lifeline()
            try:
                arguments = (payload_fd, child_end, tracker_fd)
                spare = spares.take()
                if spare is not None and spare.give(arguments, self._fds):
                    self.pid = spare.pid
                    self._watch(lifeline)
                else:
                    self._start_interpreter(arguments, lifeline)
            except BaseException:
                liveness.cut(lifeline)
                raise
            finally:
                os.close(payload_fd)
                os.close(child_end)
            spares.replenish()

        def _start_interpreter(self, arguments: tuple[int, int, int], lifeline: int) -> None:
            from multiprocessing import spawn

            # Only for systems without pidfds: ends when the child does.
            sentinel, sentinel_end = (None, None) if popen.HAVE_PIDFD else os.pipe()
            passed = {*arguments, *self._fds, *(() if sentinel_end is None else (sentinel_end,))}
            try:
                executable: Any = spawn.get_executable()
                command = command_line("tines.process.start.child", "spawn_main", arguments)
                self.pid = util.spawnv_passfds(executable, command, sorted(passed))
                self._watch(lifeline, sentinel)
            except BaseException:
                if sentinel is not None:
                    os.close(sentinel)
                raise
            finally:
                if sentinel_end is not None:
                    os.close(sentinel_end)
