"""Start a child by forking this process."""

from __future__ import annotations

import atexit
import multiprocessing.util as util
import os
import sys

from tines.process import liveness, stacks
from tines.process.lifecycle import bootstrap, stdin
from tines.process.start import popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import NoReturn

    from tines.process.lifecycle.contract import Launchable

__all__ = ["Popen"]

# Its ``_exit_function`` and ``atexit``'s private names are what the standard library uses here.
_util: ModuleType = util
_atexit: ModuleType = atexit


liveness.load_native()


class Popen(popen.Popen):
    """A forked child."""

    method = "fork"

    def _launch(self, process_obj: Launchable) -> None:
        if getattr(sys.modules["__main__"], "__file__", "<").startswith("<"):
            from tines.wire import pickling

            pickling.track_session_classes()
        stdin.prepare()
        bootstrap.parent_of(process_obj)
        listen = None if stacks.inherits(process_obj._stacks) else process_obj._listen
        child_end, lifeline = liveness.lifeline()
        # Only for systems without pidfds: ends when the child does.
        sentinel, sentinel_end = (None, None) if popen.HAVE_PIDFD else os.pipe()
        try:
            _isolate()
            self.pid = os.fork()
            if self.pid == 0:
                _run_child(process_obj, child_end, listen)
            self._watch(lifeline, sentinel)
        except BaseException:
            popen.release(lifeline, *(() if sentinel is None else (sentinel,)))
            raise
        finally:
            os.close(child_end)
            if sentinel_end is not None:
                os.close(sentinel_end)


def _isolate() -> None:
    """Keep what this process has received apart from the child, which may write to it.

    ``os.fork()`` does so itself, but where that fails it can only end the child.

    Raises:
        TransportError: it cannot be done, so this process may not fork.
    """
    native = sys.modules.get("tines._native")  # not loaded: nothing was received through it
    if native is not None:
        native.isolate()


def _run_child(
    process_obj: Launchable, liveness_fd: int, listen: Callable[[], None] | None
) -> NoReturn:
    code = 1
    # Since Python 3.13 ``atexit`` handlers that the child registers run; before, none do.
    runs_atexit = sys.version_info >= (3, 13)
    try:
        if runs_atexit:
            _atexit._clear()
            atexit.register(_util._exit_function)
        liveness.enter(liveness_fd, process_obj._bound, process_obj.own_group)
        if listen is not None:
            listen()
        bootstrap.forget_threads()
        code = bootstrap.live(process_obj, liveness_fd)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            if runs_atexit:
                _atexit._run_exitfuncs()
        finally:
            os._exit(code)
