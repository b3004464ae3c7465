"""What the conformance suite shares: children that end well, and nothing left behind.

One suite for both transports: a test that holds for only one of them belongs elsewhere. The
suite's watchdog is in ``tests/conftest.py``.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import sys
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

import pytest

from channel_tools import Finish
from support.descriptors import descriptors
from support.processes import Start, starting
from support.waiting import PATIENCE, wait_for
from tines.transport import NAMES, named


@pytest.fixture
def fork() -> Iterator[Start]:
    """As ``start``, with ``fork`` only: for what no start method can change."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method fork on {sys.platform}")
    with starting(multiprocessing.get_context("fork")) as start:
        yield start


@pytest.fixture
def finish() -> Finish:
    """Join processes that must end well."""

    def finish(*processes: BaseProcess) -> None:
        deadline = time.monotonic() + PATIENCE
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        assert [process.exitcode for process in processes] == [0] * len(processes)

    return finish


@pytest.fixture(scope="session")
def warm() -> None:
    """Make what a process makes once and keeps, so that it does not count as left behind."""
    for name in NAMES:
        with contextlib.suppress(ImportError):
            channel = named(name).channel(leases=1)
            channel.send(b"")
            channel.recv()
            channel.close()
    if sys.platform == "linux":
        from tines.process import stacks

        stacks.for_children()
    if sys.platform != "win32":
        from multiprocessing import forkserver

        resource_tracker.ensure_running()
        forkserver.ensure_running()


@pytest.fixture(autouse=True)
def nothing_left(warm: None) -> Iterator[None]:
    """Fail a test after which there are more processes or descriptors than before it."""
    before = descriptors()
    yield
    gc.collect()
    assert not multiprocessing.active_children()
    try:
        wait_for(lambda: len(descriptors()) <= len(before))
    except AssertionError:
        extra = {key: what for key, what in descriptors().items() if before.get(key) != what}
        pytest.fail(f"descriptors left open: {extra}")
