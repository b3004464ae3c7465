"""The standard library's own ``ProcessPoolExecutor``, given a context of tines.

It reaches into the private parts of what the context makes: it sleeps until the queue of results or a
process is ready, and takes a process that is ready first for one that has crashed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.process import ProcessPoolExecutor as StandardExecutor
from typing import Any

import pytest

import tines
from tines import transport as transports
from tines.queues import SimpleQueue
from tines.transport.contract import Transport

PATIENCE = 60.0


def double(x: Any) -> Any:
    return x * 2


def fail(x: object) -> None:
    raise KeyError(x)


def end_at_once() -> None:
    os._exit(3)


@pytest.fixture
def context(method: str, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(transports, "chosen", lambda: transport)
    return tines.get_context(method)


def test_it_runs(context: Any) -> None:
    with StandardExecutor(2, mp_context=context) as executor:
        assert list(executor.map(double, range(50), chunksize=7)) == [2 * n for n in range(50)]
        assert executor.submit(double, bytes(300_000)).result(PATIENCE) == bytes(600_000)
        with pytest.raises(KeyError):
            executor.submit(fail, "key").result(PATIENCE)
        assert isinstance(executor._result_queue, SimpleQueue)


def test_a_worker_that_ends_breaks_it_as_ever(context: Any) -> None:
    with StandardExecutor(2, mp_context=context) as executor, pytest.raises(BrokenProcessPool):
        executor.submit(end_at_once).result(PATIENCE)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no max_tasks_per_child")
def test_a_worker_s_last_result_is_there_before_its_end(context: Any) -> None:
    if context.get_start_method() == "fork":
        pytest.skip("the standard library refuses it with fork")
    with StandardExecutor(2, mp_context=context, max_tasks_per_child=1) as executor:
        assert [executor.submit(double, n).result(PATIENCE) for n in range(4)] == list(
            range(0, 8, 2)
        )
