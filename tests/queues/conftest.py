"""Queues on both transports; what a test starts is gone after it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from tines import transport as transports
from tines.queues import JoinableQueue, Queue, SimpleQueue

Start = Callable[..., BaseProcess]


@pytest.fixture(params=transports.NAMES)
def transport(request: pytest.FixtureRequest) -> str:
    """The name of each transport that can be used here."""
    name: str = request.param
    try:
        transports.named(name)
    except ImportError as error:
        pytest.skip(f"no {name} transport here: {error}")
    return name


@pytest.fixture
def make_queue(transport: str) -> Callable[..., Queue[Any]]:
    """Make queues on the test's transport."""
    return lambda *args, **options: Queue(*args, transport=transport, **options)


@pytest.fixture
def make_joinable(transport: str) -> Callable[..., JoinableQueue[Any]]:
    """Make joinable queues on the test's transport."""
    return lambda *args, **options: JoinableQueue(*args, transport=transport, **options)


@pytest.fixture
def make_simple(transport: str) -> Callable[[], SimpleQueue[Any]]:
    """Make simple queues on the test's transport."""
    return lambda: SimpleQueue(transport=transport)


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start processes with each start method; a failed test's are killed."""
    if request.param not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {request.param} here")
    context: Any = multiprocessing.get_context(request.param)
    started: list[BaseProcess] = []

    def begin(target: Callable[..., object], *args: Any) -> BaseProcess:
        process: BaseProcess = context.Process(target=target, args=args)
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.is_alive():
            process.kill()
        process.join()
        process.close()
