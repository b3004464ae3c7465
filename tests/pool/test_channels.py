"""What carries a pool's messages goes with the pool, however its workers went."""

from __future__ import annotations

import gc

import pytest

import tines
from support.waiting import wait_for
from tines.transport import named
from tines.transport.pipe import registry


def broker_channels() -> int:
    current = registry.current()
    current.sweep()
    return len(current.broker().channels)


@pytest.mark.parametrize("method", tines.get_all_start_methods())
def test_a_pool_whose_workers_are_killed_at_once_leaves_no_channel(method: str) -> None:
    gc.collect()
    base = broker_channels()
    for _ in range(3):
        pool = tines.Pool(2, context=tines.get_context(method), transport=named("pipe"))
        for worker in list(pool._pool):
            worker.kill()
        pool.terminate()
        pool.join()
        del pool
    wait_for(lambda: broker_channels() == base)
