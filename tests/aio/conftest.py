"""What the tests of asyncio share: each transport, and pools that leave nothing behind."""

from __future__ import annotations

import gc
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aio_tools import wait_for
from tines import aio, context
from tines.transport import NAMES, named
from tines.transport.contract import Transport


@pytest.fixture(params=NAMES)
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each transport that can be used here."""
    try:
        return named(request.param)
    except ImportError as error:
        pytest.skip(f"no {request.param} transport here: {error}")


@pytest.fixture
def make(transport: Transport) -> Iterator[Callable[..., aio.Pool]]:
    """Make pools by fork; their threads and workers must be gone afterwards."""
    made: list[aio.Pool] = []

    def make_pool(processes: int = 2, **options: Any) -> aio.Pool:
        fork = context.default.get_context("fork")
        pool = aio.Pool(processes, context=fork, transport=transport, **options)
        made.append(pool)
        return pool

    yield make_pool
    while made:
        made.pop().pool.terminate()
    gc.collect()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("tines pool")])
    wait_for(lambda: not multiprocessing.active_children())
