"""A limit on every test, which shows where everything stood when it was reached.

Two steps, because a hang can be of two kinds:

1. At the limit SIGALRM interrupts the main thread. All stacks of this process are written to
   stderr, all children get SIGABRT, upon which ``faulthandler`` (on in every child through
   PYTHONFAULTHANDLER) writes theirs, and the test fails with an exception. The suite goes on. This
   works where waits return to Python for signals, as those of tines must. Where the exception is lost (a
   hook or finalizer had it, and the interpreter only printed it) the test fails at its end.
2. Where that cannot happen (a wait in C that holds the GIL, or a platform without SIGALRM), a timer
   that needs neither the GIL nor signals writes the stacks after a further grace, and ends the run.
   It is a thread, whose start holds locks of ASan that a fork at this moment does not release:
   TINES_TESTS_LAST_RESORT=off does without.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import time
from collections.abc import Generator, Iterator
from multiprocessing import resource_tracker
from types import FrameType

import psutil
import pytest

from support.waiting import SLOWNESS

__all__ = [
    "TestHung",
    "pytest_runtest_call",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_sessionstart",
]

LIMIT = 60.0
GRACE = 30.0

_real_stderr = sys.__stderr__
_lately_hung: list[TestHung] = []


class TestHung(BaseException):
    """A test reached its limit. No ``Exception``: a test's own handlers must not swallow it."""

    __test__ = False


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let children dump their stacks too, and keep the stderr that pytest does not capture."""
    global _real_stderr
    os.environ["PYTHONFAULTHANDLER"] = "1"
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        _real_stderr = os.fdopen(os.dup(2), "w")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run one test, with its fixtures, under the watchdog."""
    with _last_resort(), _alarm(item.nodeid, _limit(item)):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin to count: anew, where the test is tried once more."""
    _start_last_resort(_limit(item) + GRACE)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, _limit(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that hung and went on, as if nothing had been."""
    _lately_hung.clear()
    result = yield
    if _lately_hung:
        raise _lately_hung.pop()
    return result


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("watchdog")
    return SLOWNESS * (float(marker.args[0]) if marker else LIMIT)


def _start_last_resort(seconds: float) -> None:
    if os.environ.get("TINES_TESTS_LAST_RESORT") != "off":
        faulthandler.dump_traceback_later(seconds, exit=True, file=_real_stderr)


@contextlib.contextmanager
def _last_resort() -> Iterator[None]:
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _alarm(name: str, seconds: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer"):
        yield
        return
    owner = os.getpid()

    def ring(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:  # forked children inherit the handler, though not the timer
            _dump_everything(name, seconds)
            hung = TestHung(f"{name} was still running after {seconds:g} s: stacks are on stderr")
            _lately_hung.append(hung)
            raise hung

    previous = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _dump_everything(name: str, seconds: float) -> None:
    print(f"\n{name}: still running after {seconds:g} s", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(file=2)
    tracker = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    children = [c for c in psutil.Process().children(recursive=True) if c.pid != tracker]
    for child in children:
        with contextlib.suppress(psutil.Error):
            print(f"\nchild {child.pid}: {child.status()}", file=sys.stderr, flush=True)
            child.resume()
            child.send_signal(signal.SIGABRT)
    _wait_without_reaping(children, timeout=5)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()


def _wait_without_reaping(processes: list[psutil.Process], timeout: float) -> None:
    """Wait for processes to end; their exit codes stay for who started them."""
    if not hasattr(os, "pidfd_open"):
        time.sleep(1)  # time to write a few stacks
        return
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(process.pid)
                stack.callback(os.close, descriptor)
                select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
