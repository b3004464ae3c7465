"""What the pool's tests share: pools that leave nothing behind, and a display."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from pool_tools import MakePool
from progress_tools import Recorder, no_thread
from support.descriptors import descriptors
from support.pools import ending
from support.waiting import wait_for
from tines import context
from tines.pool import Pool
from tines.transport.contract import Transport

SHARED_DESCRIPTORS = 8


@pytest.fixture
def make(transport: Transport, request: pytest.FixtureRequest) -> Iterator[MakePool]:
    """Make pools, by fork unless told otherwise; they and all they had must be gone afterwards."""
    engine = request.config.getoption("--engine")
    before = len(descriptors())
    with ending() as made:

        def make_pool(
            processes: int = 2, *arguments: Any, method: str = "fork", **options: Any
        ) -> Pool:
            ctx = context.default.get_context(method)
            options.setdefault("transport", transport)
            options.setdefault("engine", engine)
            pool = Pool(processes, *arguments, context=ctx, **options)
            made.append(pool)
            return pool

        yield make_pool
    if before:
        # The first pool of a session opens what later ones share: a segment, a broker's socket.
        wait_for(lambda: len(descriptors()) <= before + SHARED_DESCRIPTORS)


@pytest.fixture
def shown() -> Recorder:
    """A display."""
    return Recorder()


@pytest.fixture
def no_display_stays() -> Iterator[None]:
    """The thread that draws ends when nothing is shown any more."""
    yield
    gc.collect()
    wait_for(no_thread)
