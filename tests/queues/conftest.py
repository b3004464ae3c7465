"""Queues on each transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tines.queues import JoinableQueue, Queue, SimpleQueue
from tines.transport.contract import Transport


@pytest.fixture
def make_queue(transport: Transport) -> Callable[..., Queue[Any]]:
    """Make queues on the test's transport."""
    return lambda *args, **options: Queue(*args, transport=transport.name, **options)


@pytest.fixture
def make_joinable(transport: Transport) -> Callable[..., JoinableQueue[Any]]:
    """Make joinable queues on the test's transport."""
    return lambda *args, **options: JoinableQueue(*args, transport=transport.name, **options)


@pytest.fixture
def make_simple(transport: Transport) -> Callable[[], SimpleQueue[Any]]:
    """Make simple queues on the test's transport."""
    return lambda: SimpleQueue(transport=transport.name)
