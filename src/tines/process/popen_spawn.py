"""Start a child as a fresh interpreter.

On Windows, and in a frozen program, it is the standard library that does it; the child finds its way
to our process class when it unpickles it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Popen", "interpreter", "spawn_main"]


def interpreter(module: str, function: str, arguments: tuple[Any, ...]) -> list[str]:
    """Return the command line of a new interpreter that calls one of our functions."""
    from multiprocessing import spawn, util

    # Last on the path, where it hides nothing: the child may find tines only through the path that
    # its parent set up itself, and will be told of that path only when it has found tines.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = (
        f"import sys; sys.path.append({root!r}); "
        f"from {module} import {function}; {function}{arguments!r}"
    )
    options = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [os.fsdecode(spawn.get_executable()), *options, "-c", program, "--multiprocessing-fork"]


def spawn_main(payload_fd: int, liveness_fd: int, tracker_fd: int) -> None:
    """Run in the new interpreter."""
    from multiprocessing import resource_tracker

    from tines.process import launch

    resource_tracker._resource_tracker._fd = tracker_fd  # type: ignore[attr-defined]
    sys.exit(launch.run(payload_fd, liveness_fd))


if sys.platform == "win32":
    from multiprocessing.popen_spawn_win32 import Popen as Popen
elif getattr(sys, "frozen", False):
    from multiprocessing.popen_spawn_posix import Popen as Popen
else:
    import multiprocessing.util as util
    from multiprocessing.popen_spawn_posix import _DupFd

    from tines.process import launch, liveness, popen

    class Popen(popen.Popen):
        """A child in an interpreter of its own."""

        method = "spawn"
        DupFd = _DupFd

        def __init__(self, process_obj: Any) -> None:
            self._fds: list[int] = []
            super().__init__(process_obj)

        def duplicate_for_child(self, fd: int) -> int:
            """Have the child inherit a descriptor; return its number there."""
            if fd not in self._fds:  # an object may be pickled twice: by name, then by value
                self._fds.append(fd)
            return fd

        def _launch(self, process_obj: Any) -> None:
            from multiprocessing import resource_tracker, spawn

            tracker_fd = resource_tracker.getfd()
            liveness_fd = liveness.read_end()
            payload_fd = launch.pack(process_obj, self)
            sentinel = child_end = None
            passed = [payload_fd, liveness_fd, tracker_fd, *self._fds]
            try:
                if not popen.HAVE_PIDFD:
                    sentinel, child_end = os.pipe()
                    passed.append(child_end)
                command = interpreter(
                    __name__, "spawn_main", (payload_fd, liveness_fd, tracker_fd)
                )
                self.pid = util.spawnv_passfds(spawn.get_executable(), command, set(passed))
                self._watch(sentinel)
            except BaseException:
                if sentinel is not None:
                    os.close(sentinel)
                raise
            finally:
                os.close(payload_fd)
                if child_end is not None:
                    os.close(child_end)
