"""Helpers of the tests of ``aio.Pool``: inputs, results, and what a pool still has to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from support.waiting import PATIENCE
from tines import aio

Make = Callable[..., aio.Pool]


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        if number % 7 == 0:
            await asyncio.sleep(0)


async def listed(results: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in results]


async def outcomes(results: aio.ResultIterator) -> list[Any]:
    """Exhaust an iterator that may raise at each step; exceptions stand in for their items."""
    found: list[Any] = []
    while True:
        try:
            found.append(await results.__anext__())
        except StopAsyncIteration:
            return found
        except Exception as error:
            found.append(error)


def pending(pool: aio.Pool) -> int:
    state = pool.pool._core.state
    return len(state.pending) + len(state.delayed) + len(state.jobs)


async def idle(pool: aio.Pool) -> None:
    """Wait until a pool has nothing more to do, nor has its loop but for the caller's task.

    The loop closes an input that was left to the garbage collector, in a task of its own.
    """
    deadline = time.monotonic() + PATIENCE
    while pending(pool) or len(asyncio.all_tasks()) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
