"""What the conformance suite shares: each transport, each start method, and nothing left behind.

One suite for both transports: a test that holds for only one of them belongs elsewhere. The
suite's watchdog is in ``tests/conftest.py``.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tines.transport import NAMES, named
from tines.transport.contract import Transport

PATIENCE = 20.0
"""Seconds for something that must happen, on a machine that is busy with other things."""

DESCRIPTORS = Path("/proc/self/fd")

Start = Callable[..., BaseProcess]


@pytest.fixture(params=NAMES)
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each transport that can be used here."""
    try:
        return named(request.param)
    except ImportError as error:
        pytest.skip(f"no {request.param} transport here: {error}")


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def method(request: pytest.FixtureRequest) -> str:
    """Each start method of this system."""
    name: str = request.param
    if name not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {name} on {sys.platform}")
    return name


@pytest.fixture
def start(method: str) -> Iterator[Start]:
    """Start processes of the standard library; those that a failed test left are killed."""
    with _starter(method) as starter:
        yield starter


@pytest.fixture
def fork() -> Iterator[Start]:
    """The same, with ``fork`` only: for what no start method can change."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method fork on {sys.platform}")
    with _starter("fork") as starter:
        yield starter


@contextlib.contextmanager
def _starter(method: str) -> Iterator[Start]:
    processes: list[BaseProcess] = []

    context: Any = multiprocessing.get_context(method)

    def start(target: Callable[..., object], *args: Any) -> BaseProcess:
        process: BaseProcess = context.Process(target=target, args=args)
        process.start()
        processes.append(process)
        return process

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.join()
            process.close()


@pytest.fixture
def finish() -> Callable[..., None]:
    """Join processes that must end well."""

    def finish(*processes: BaseProcess) -> None:
        deadline = time.monotonic() + PATIENCE
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        assert [process.exitcode for process in processes] == [0] * len(processes)

    return finish


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for what can only be looked at, such as ``waiting_receivers``."""
    return _until


def _until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "what the test waited for did not happen"
        time.sleep(0.001)


@pytest.fixture(scope="session")
def warm() -> None:
    """Make what a process makes once and keeps, so that it does not count as left behind."""
    for name in NAMES:
        with contextlib.suppress(ImportError):
            channel = named(name).channel(leases=1)
            channel.send(b"")
            channel.recv()
            channel.close()
    if sys.platform != "win32":
        from multiprocessing import forkserver

        resource_tracker.ensure_running()
        forkserver.ensure_running()


@pytest.fixture(autouse=True)
def nothing_left(warm: None) -> Iterator[None]:
    """Fail a test after which there are more processes or descriptors than before it."""
    before = _descriptors()
    yield
    gc.collect()
    assert not multiprocessing.active_children()
    try:
        _until(lambda: len(_descriptors()) <= len(before), patience=5.0)
    except AssertionError:
        extra = {key: what for key, what in _descriptors().items() if before.get(key) != what}
        pytest.fail(f"descriptors left open: {extra}")


def _descriptors() -> dict[str, str]:
    """Return the open descriptors and what they are; empty where the system does not tell."""
    found = {}
    if DESCRIPTORS.exists():
        for entry in os.listdir(DESCRIPTORS):
            with contextlib.suppress(OSError):
                found[entry] = os.readlink(DESCRIPTORS / entry)
    return found
