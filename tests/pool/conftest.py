"""What the pool's tests share: each transport, each start method, and nothing left behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pool_tools import MakePool, wait_for
from tines import context
from tines.pool import Pool
from tines.transport import NAMES, named
from tines.transport.contract import Transport

SHARED_DESCRIPTORS = 8


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
def make(transport: Transport) -> Iterator[MakePool]:
    """Make pools, by fork unless told otherwise; they and all they had must be gone afterwards."""
    before = _descriptors()
    made: list[Pool] = []

    def make_pool(
        processes: int = 2, *arguments: Any, method: str = "fork", **options: Any
    ) -> Pool:
        ctx = context.default.get_context(method)
        options.setdefault("transport", transport)
        pool = Pool(processes, *arguments, context=ctx, **options)
        made.append(pool)
        return pool

    yield make_pool
    while made:
        made.pop().terminate()
    del make_pool
    gc.collect()
    wait_for(lambda: not _threads())
    wait_for(lambda: not multiprocessing.active_children())
    if before:
        # The first pool of a session opens what later ones share: a segment, a broker's socket.
        wait_for(lambda: _descriptors() <= before + SHARED_DESCRIPTORS)


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("tines pool")]


def _descriptors() -> int:
    directory = Path("/proc/self/fd")
    return len(os.listdir(directory)) if directory.exists() else 0
