"""Start a child by forking this process."""

from __future__ import annotations

import atexit
import multiprocessing.util as util
import os
import sys

import tines.process.box  # noqa: F401  (for the child, which is not to import anything)
from tines.process import liveness, popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["Popen"]

# Its ``_exit_function`` and ``atexit``'s private names are what the standard library uses here.
_util: Any = util
_atexit: Any = atexit


class Popen(popen.Popen):
    """A forked child."""

    method = "fork"

    def _launch(self, process_obj: Any) -> None:
        liveness_fd = liveness.read_end()
        if getattr(sys.modules["__main__"], "__file__", "<").startswith("<"):
            from tines.wire import pickling

            pickling.track_session_classes()
        # Only for systems without pidfds: ends when the child does.
        sentinel, child_end = (None, None) if popen.HAVE_PIDFD else os.pipe()
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _run_child(process_obj, liveness_fd)
            self._watch(sentinel)
        except BaseException:
            if sentinel is not None:
                os.close(sentinel)
            raise
        finally:
            if child_end is not None:
                os.close(child_end)


def _run_child(process_obj: Any, liveness_fd: int) -> NoReturn:
    code = 1
    # Since Python 3.13 ``atexit`` handlers that the child registers run; before, none do.
    runs_atexit = sys.version_info >= (3, 13)
    try:
        if runs_atexit:
            _atexit._clear()
            atexit.register(_util._exit_function)
        code = process_obj._bootstrap(parent_sentinel=liveness_fd)
    finally:
        try:
            if runs_atexit:
                _atexit._run_exitfuncs()
        finally:
            os._exit(code)
