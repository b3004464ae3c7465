"""Start a child through the fork server (:mod:`tines.process.start.forkserver`)."""

from __future__ import annotations

import multiprocessing.util as util
import os

from tines.process import liveness
from tines.process.lifecycle import launch
from tines.process.start import forkserver_client, interpreter, popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.process.lifecycle.contract import Launchable

__all__ = ["Popen"]


class _Inherited:
    """Stands, in the pickle of a process, for a descriptor its child is given."""

    def __init__(self, index: int) -> None:
        self._index = index

    def detach(self) -> int:
        """Return the descriptor's number in the child."""
        return forkserver_client.inherited(self._index)


class Popen(popen.Popen):
    """A child of the fork server, which tells its exit code.

    The sentinel is a pidfd, where the system has them. A server that is killed takes no child with
    it, but the exit codes of its children: they are ``UNKNOWN`` then.
    """

    method = "forkserver"
    DupFd = _Inherited

    def __init__(self, process_obj: Launchable) -> None:
        self._fds: list[int] = []
        super().__init__(process_obj)

    def duplicate_for_child(self, fd: int) -> int:
        """Give a descriptor to the child; return its index there (see ``DupFd``)."""
        if fd not in self._fds:  # an object may be pickled twice: by name, then by value
            self._fds.append(fd)
        return self._fds.index(fd)

    def _launch(self, process_obj: Launchable) -> None:
        interpreter.check_executable()  # before the tracker fails for the same reason
        tracker_fd = interpreter.tracker()
        payload_fd = launch.pack(process_obj, self, forkserver_client.environment_changes())
        child_end, lifeline = liveness.lifeline()
        try:
            self.pid, pidfd, self._status_fd = forkserver_client.request(
                payload_fd, child_end, tracker_fd, self._fds
            )
        except BaseException:
            liveness.cut(lifeline)
            raise
        finally:
            os.close(payload_fd)
            os.close(child_end)
        self._has_pidfd = pidfd is not None
        self.sentinel = self._status_fd if pidfd is None else pidfd
        self.finalizer = util.Finalize(
            self, popen.release, (lifeline, *{self._status_fd, self.sentinel})
        )

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the child; return its exit code, or ``None`` if it still runs."""
        if self.returncode is not None or self._owner != os.getpid():
            return self.returncode
        # The sentinel, as whoever waits for that must then find the exit code. It comes a moment
        # later, from the server.
        if popen.ready(self.sentinel, timeout):
            with self._collecting:
                if self.returncode is None:
                    code = forkserver_client.exit_code(self._status_fd)
                    self._ended(popen.UNKNOWN if code is None else code)
        return self.returncode
