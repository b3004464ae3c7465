"""Threads of ours that ``threading`` does not know of.

``threading.Thread.start()`` waits until the new thread runs: long, where children that have just been
started keep all cores busy. And every forked child has something to do for each thread that is
known. So threads that run none of the user's code do without: here ``threading.current_thread()``
would make something up, and no debugger hears of them.

Like daemonic threads they do not keep the interpreter from ending.
"""

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PlainThread", "check_interpreter"]


def check_interpreter() -> None:
    """Refuse an interpreter in which Python allows none of what tines is made of.

    Isolated ones (``concurrent.interpreters``, ``InterpreterPoolExecutor``) may neither fork nor have
    threads that run until the end; Python 3.12 crashes where they import some of its own modules.

    Raises:
        RuntimeError: this is one.
    """
    allowed = getattr(_thread, "daemon_threads_allowed", None)  # from Python 3.12 on
    if allowed is not None and not allowed():
        raise RuntimeError(
            "tines cannot be used in an isolated sub-interpreter, where Python allows neither fork nor "
            "daemon threads: make processes, pools, queues and locks in the main interpreter"
        )


class PlainThread:
    """A thread that runs a function, once. Its methods may be called by any thread.

    In a forked child, where the thread is not, it counts as ended.

    Args:
        run: What it runs; it must not raise.
    """

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        # Held from the start of the thread to its end.
        self._running = _thread.allocate_lock()
        self._ident: int | None = None
        self._number: int | None = None
        self._pid = os.getpid()

    def start(self) -> None:
        """Start it, without waiting until it runs.

        Raises:
            RuntimeError: no thread can be started.
        """
        self._running.acquire()
        try:
            self._ident = _thread.start_new_thread(self._main, ())
        except BaseException:
            self._running.release()
            raise

    @property
    def is_current(self) -> bool:
        """Whether this is it."""
        return self._ident == _thread.get_ident()

    @property
    def was_started(self) -> bool:
        """Whether it was started, be it over or not."""
        return self._ident is not None

    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._running.locked() and self._pid == os.getpid()

    def join(self, timeout: float = -1) -> bool:
        """Wait for its end, at most ``timeout`` seconds if that is not negative; whether it came.

        Not for the thread itself.
        """
        if not self.is_alive():
            return True
        if timeout < 0:
            # One step for signal handlers: an exception of theirs leaves the lock to the next who joins.
            with self._running:
                pass
        elif self._running.acquire(timeout=timeout):
            self._running.release()
        else:
            return False
        # A moment later the kernel does not count it any more, nor does whoever asks the kernel.
        while self._number is not None and os.path.exists(f"/proc/self/task/{self._number}"):
            os.sched_yield()
        return True

    def _main(self) -> None:
        try:
            # Here too: whoever started it may not have come to it yet.
            self._ident = _thread.get_ident()
            if sys.platform == "linux":
                self._number = _thread.get_native_id()
            self._run()
        finally:
            self._running.release()
