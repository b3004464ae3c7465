"""Start a child as a fresh interpreter; on Windows it is the standard library that does it.

There the child finds our process class when it unpickles it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.process.lifecycle.contract import Launchable

__all__ = ["Popen"]

if sys.platform == "win32":
    from multiprocessing.popen_spawn_win32 import Popen
else:
    from tines.process import liveness
    from tines.process.lifecycle import launch
    from tines.process.start import interpreter, popen, spares

    class Popen(popen.Popen):
        """A child in an interpreter of its own."""

        method = "spawn"
        DupFd = launch.SameNumber

        def __init__(self, process_obj: Launchable) -> None:
            self._fds: list[int] = []
            super().__init__(process_obj)

        def duplicate_for_child(self, fd: int) -> int:
            """Have the child inherit a descriptor; return its number there."""
            if fd not in self._fds:  # an object may be pickled twice: by name, then by value
                self._fds.append(fd)
            return fd

        def _launch(self, process_obj: Launchable) -> None:
            interpreter.check_executable()  # before the tracker fails for the same reason
            tracker_fd = interpreter.tracker()
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
            # Only for systems without pidfds: ends when the child does.
            sentinel, sentinel_end = (None, None) if popen.HAVE_PIDFD else os.pipe()
            passed = {*arguments, *self._fds, *(() if sentinel_end is None else (sentinel_end,))}
            try:
                self.pid = interpreter.start(
                    "tines.process.start.child", "spawn_main", arguments, passed
                )
                self._watch(lifeline, sentinel)
            except BaseException:
                if sentinel is not None:
                    os.close(sentinel)
                raise
            finally:
                if sentinel_end is not None:
                    os.close(sentinel_end)
