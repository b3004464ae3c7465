"""Callbacks of calls: they may use and end the pool, and may raise; each is called once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pool_tasks import nap, square
from pool_tools import MakePool
from support.waiting import wait_for
from tines.errors import TaskCancelledError


@pytest.mark.parametrize("how", ["apply", "map", "error", "done"])
def test_terminate_in_a_callback(make: MakePool, how: str) -> None:
    pool = make()
    rest = [pool.apply_async(nap, (30,)) for _ in range(1)]
    called = threading.Event()

    def callback(_: Any) -> None:
        pool.terminate()
        pool.join()
        called.set()

    if how == "apply":
        pool.apply_async(square, (2,), callback=callback)
    elif how == "map":
        pool.map_async(square, range(10), callback=callback)
    elif how == "error":
        pool.apply_async(square, ("x",), error_callback=callback)
    else:
        pool.apply_async(nap, (0.05,)).add_done_callback(callback)
    assert called.wait(20)
    for result in rest:
        with pytest.raises(TaskCancelledError):
            result.get(timeout=20)
    pool.join()


def test_callbacks_may_use_the_pool(make: MakePool) -> None:
    pool = make()
    found: list[Any] = []
    done = threading.Event()

    def callback(value: int) -> None:
        found.append(pool.apply(square, (value,)))
        found.append(pool.map(square, range(3)))
        done.set()

    result = pool.apply_async(square, (2,), callback=callback)
    assert result.get(timeout=20) == 4
    assert done.is_set()
    assert found == [16, [0, 1, 4]]


def test_exploding_callbacks_are_logged_and_harm_nobody(
    make: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make()

    def explode(_: Any) -> None:
        raise RuntimeError("bang")

    for _ in range(3):
        assert pool.apply_async(square, (2,), callback=explode).get(timeout=20) == 4
    result = pool.apply_async(square, (3,))
    result.add_done_callback(explode)
    assert result.get(timeout=20) == 9
    result.add_done_callback(explode)
    assert pool.map(square, range(3)) == [0, 1, 4]
    wait_for(lambda: len([r for r in caplog.records if "callback" in r.getMessage()]) == 5)
    assert "bang" in caplog.text


def test_a_done_callback_that_is_added_while_others_are_called(make: MakePool) -> None:
    """The result is settled, and its callbacks called, between two steps of the adding thread."""
    pool = make(1)
    result = pool.apply_async(square, (3,))
    assert result.get() == 9
    called = []

    class Interleaved(list[Any]):
        def append(self, fn: Any) -> None:
            result._run_done_callbacks()
            super().append(fn)

    result._done_callbacks = Interleaved([lambda _: called.append("first")])
    result.add_done_callback(lambda _: called.append("second"))
    assert called == ["first", "second"]


def test_a_call_that_the_collector_thread_no_longer_sees_is_not_lost(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make()
    pool.close()
    pool.join()
    collector = pool._core.collector
    called: list[int] = []
    # Whoever calls looks before the thread has quite ended, whoever joins looks afterwards.
    monkeypatch.setattr(collector, "_runs", lambda: True)
    collector.call_later(lambda: called.append(1))
    collector.join()
    assert called == [1]


def test_done_callbacks(make: MakePool) -> None:
    pool = make()
    found: list[Any] = []
    result = pool.apply_async(nap, (0.05,))
    result.add_done_callback(found.append)
    result.add_done_callback(found.append)
    wait_for(lambda: len(found) == 2)
    assert found == [result, result]
    assert result.done()
    result.add_done_callback(found.append)
    assert len(found) == 3
