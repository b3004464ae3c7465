"""What the tests of asyncio share: pools that leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.pools import ending
from tines import aio, context
from tines.transport.contract import Transport


@pytest.fixture
def make(transport: Transport) -> Iterator[Callable[..., aio.Pool]]:
    """Make pools by fork; their threads and workers must be gone afterwards."""
    with ending() as made:

        def make_pool(processes: int = 2, **options: Any) -> aio.Pool:
            fork = context.default.get_context("fork")
            pool = aio.Pool(processes, context=fork, transport=transport, **options)
            made.append(pool.pool)
            return pool

        yield make_pool
