"""The standard library's queue semantics, on both transports."""

from __future__ import annotations

import pickle
import queue as standard
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import queue_children as children
from queue_children import BreaksOnArrival
from support import mappings
from support.numbers import Whole
from support.processes import Start
from support.waiting import PATIENCE
from tines.errors import DecodeError, EncodeError, QueueShutDown
from tines.queues import JoinableQueue, Queue, SimpleQueue

MakeQueue = Callable[..., Queue[Any]]


def test_items_come_in_the_order_put(make_queue: MakeQueue) -> None:
    queue = make_queue()
    for i in range(1000):
        queue.put(i)
    assert [queue.get() for _ in range(1000)] == list(range(1000))


def test_sizes_are_exact(make_queue: MakeQueue) -> None:
    queue = make_queue(2)
    assert (queue.qsize(), queue.empty(), queue.full()) == (0, True, False)
    queue.put("a")
    assert (queue.qsize(), queue.empty(), queue.full()) == (1, False, False)
    queue.put("b")
    assert (queue.qsize(), queue.empty(), queue.full()) == (2, False, True)
    queue.get()
    assert (queue.qsize(), queue.empty(), queue.full()) == (1, False, False)


@pytest.mark.parametrize("arguments", [{"block": False}, {"timeout": 0}, {"timeout": -1}])
def test_get_from_empty_does_not_wait(make_queue: MakeQueue, arguments: dict[str, Any]) -> None:
    with pytest.raises(standard.Empty):
        make_queue().get(**arguments)


@pytest.mark.parametrize("arguments", [{"block": False}, {"timeout": 0}, {"timeout": -1}])
def test_put_on_full_does_not_wait(make_queue: MakeQueue, arguments: dict[str, Any]) -> None:
    queue = make_queue(1)
    queue.put(1)
    with pytest.raises(standard.Full):
        queue.put(2, **arguments)
    assert queue.get() == 1


def test_nowait_forms(make_queue: MakeQueue) -> None:
    queue = make_queue(1)
    with pytest.raises(standard.Empty):
        queue.get_nowait()
    queue.put_nowait("x")
    with pytest.raises(standard.Full):
        queue.put_nowait("y")
    assert queue.get_nowait() == "x"


@pytest.mark.parametrize("timeout", [0.05, 0.3])
def test_timeouts_are_kept(make_queue: MakeQueue, timeout: float) -> None:
    queue = make_queue(1)
    began = time.monotonic()
    with pytest.raises(standard.Empty):
        queue.get(timeout=timeout)
    waited_to_get = time.monotonic() - began
    queue.put(1)
    began = time.monotonic()
    with pytest.raises(standard.Full):
        queue.put(2, timeout=timeout)
    waited_to_put = time.monotonic() - began
    for waited in (waited_to_get, waited_to_put):
        assert timeout <= waited < timeout + PATIENCE


def test_a_waiting_get_wakes_on_put(make_queue: MakeQueue) -> None:
    queue = make_queue()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(queue.get(timeout=20)))
    thread.start()
    queue.put("woken")
    thread.join()
    assert got == ["woken"]


def test_a_waiting_put_wakes_on_get(make_queue: MakeQueue) -> None:
    queue = make_queue(1)
    queue.put(1)
    thread = threading.Thread(target=lambda: queue.put(2, timeout=20))
    thread.start()
    assert queue.get() == 1
    thread.join()
    assert queue.get() == 2


def test_max_bytes_bounds_what_is_queued(make_queue: MakeQueue) -> None:
    queue = make_queue(max_bytes=100_000)
    queue.put(bytes(60_000))
    with pytest.raises(standard.Full):
        queue.put(bytes(60_000), block=False)
    queue.put(b"small")
    assert len(queue.get()) == 60_000
    queue.put(bytes(60_000), block=False)


def test_one_item_larger_than_max_bytes_passes_alone(make_queue: MakeQueue) -> None:
    queue = make_queue(max_bytes=1000)
    queue.put(bytes(50_000), timeout=5)
    with pytest.raises(standard.Full):
        queue.put(1, block=False)
    assert len(queue.get()) == 50_000


@pytest.mark.parametrize("bad", ["3", 2.5, None])
def test_maxsize_has_to_be_a_whole_number(make_queue: MakeQueue, bad: Any) -> None:
    with pytest.raises(TypeError, match=r"maxsize must be a whole number"):
        make_queue(bad)


@pytest.mark.parametrize("maxsize", [0, -1, -100, Whole(-1)])
def test_a_size_below_one_is_none(make_queue: MakeQueue, maxsize: Any) -> None:
    queue = make_queue(maxsize)
    for number in range(1000):
        queue.put(number, block=False)
    assert not queue.full()


@pytest.mark.parametrize("one", [True, Whole(1)])
def test_a_size_is_whatever_is_an_index(make_queue: MakeQueue, one: Any) -> None:
    queue = make_queue(one, max_bytes=Whole(1000))
    queue.put("first", block=False)
    with pytest.raises(standard.Full):
        queue.put("second", block=False)
    assert queue.get_many(Whole(2)) == ["first"]


def test_a_negative_number_of_bytes_is_refused(make_queue: MakeQueue) -> None:
    with pytest.raises(ValueError, match="max_bytes=-1"):
        make_queue(max_bytes=-1)


def test_what_cannot_be_pickled_is_refused_in_the_caller(make_queue: MakeQueue) -> None:
    queue = make_queue()
    with pytest.raises(EncodeError, match="generator") as refused:
        queue.put(i for i in range(3))
    assert isinstance(refused.value, (TypeError, pickle.PicklingError))
    queue.put("the queue goes on")
    assert queue.get() == "the queue goes on"


def test_lambdas_and_closures_travel(make_queue: MakeQueue) -> None:
    queue = make_queue()
    offset = 5
    queue.put(lambda x: x + offset)
    assert queue.get()(1) == 6


def test_what_does_not_unpickle_costs_one_get(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.put(BreaksOnArrival())
    queue.put("next")
    with pytest.raises(DecodeError, match="made to fail where it arrives"):
        queue.get()
    assert queue.get() == "next"


def test_get_many_keeps_the_others_when_one_does_not_unpickle(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.put_many([1, BreaksOnArrival(), 3])
    with pytest.raises(DecodeError) as failure:
        queue.get_many(10)
    assert failure.value.received == [1, 3]


def test_put_many_and_get_many(make_queue: MakeQueue) -> None:
    queue = make_queue()
    assert queue.put_many(range(10)) == 10
    assert queue.get_many(4) == [0, 1, 2, 3]
    assert queue.get_many(100) == [4, 5, 6, 7, 8, 9]
    with pytest.raises(standard.Empty):
        queue.get_many(1, timeout=0)
    with pytest.raises(ValueError, match="max_items=0"):
        queue.get_many(0)


def test_put_many_says_how_many_fitted(make_queue: MakeQueue) -> None:
    queue = make_queue(3)
    assert queue.put_many(range(10), timeout=0) == 3
    assert queue.get_many(10) == [0, 1, 2]


def test_a_closed_queue_refuses(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.put(1)
    queue.close()
    queue.close()
    queue.join_thread()
    uses: list[Any] = [lambda: queue.put(1), queue.get, lambda: queue.get_many(1), queue.fileno]
    for use in (*uses, lambda: queue.put_many([1]), queue.statistics, queue.shutdown):
        with pytest.raises(ValueError, match="is closed"):
            use()


def test_a_closed_queue_says_how_it_stands(make_queue: MakeQueue) -> None:
    queue, full = make_queue(2), make_queue(1)
    full.put(1)
    queue.close()
    full.close()
    assert (queue.qsize(), queue.empty(), queue.full()) == (0, True, False)
    assert (full.qsize(), full.full()) == (1, True)
    with pytest.raises(OSError, match="is closed"):
        full.empty()


def test_a_closed_queue_counts_what_was_done(make_joinable: Any, start: Start) -> None:
    queue = make_joinable()
    queue.put("here")
    queue.put("there")
    assert queue.get() == "here"
    start(children.work_through_one, queue)
    queue.close()
    queue.task_done()
    queue.join()
    assert (queue.qsize(), queue.empty()) == (0, True)
    with pytest.raises(ValueError, match="task_done"):
        queue.task_done()


def test_join_thread_wants_a_closed_queue(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.cancel_join_thread()
    with pytest.raises(ValueError, match="close"):
        queue.join_thread()


def test_iteration_ends_at_shutdown(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.put_many("abc")
    queue.shutdown()
    assert list(queue) == ["a", "b", "c"]
    with pytest.raises(QueueShutDown):
        queue.put("d")
    with pytest.raises(QueueShutDown):
        queue.get()


def test_immediate_shutdown_drops_what_is_queued(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.put_many("abc")
    queue.shutdown(immediate=True)
    assert list(queue) == []


def test_statistics_count(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.put_many(range(5))
    queue.get()
    statistics = queue.statistics()
    assert (statistics.depth, statistics.sent, statistics.received) == (4, 5, 1)
    assert statistics.bytes > 0


def test_join_waits_for_task_done(make_joinable: Callable[..., JoinableQueue[Any]]) -> None:
    queue = make_joinable()
    queue.join()
    queue.put(1)
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (queue.join(), joined.set()))
    thread.start()
    queue.get()
    assert not joined.is_set()
    queue.task_done()
    thread.join()
    assert joined.is_set()
    with pytest.raises(ValueError, match="task_done"):
        queue.task_done()


def test_simple_queue(make_simple: Callable[[], SimpleQueue[Any]]) -> None:
    queue = make_simple()
    assert queue.empty()
    queue.put([1, 2])
    assert not queue.empty()
    assert queue.get() == [1, 2]
    queue.close()
    with pytest.raises(ValueError, match="closed"):
        queue.put(1)


def test_many_threads_of_one_process(make_queue: MakeQueue) -> None:
    queue, results = make_queue(10), make_queue()
    producers = [
        threading.Thread(target=lambda w=w: [queue.put((w, i)) for i in range(300)])
        for w in range(4)
    ]
    consumers = [
        threading.Thread(target=lambda: [results.put(item) for item in queue]) for _ in range(4)
    ]
    for thread in producers + consumers:
        thread.start()
    for thread in producers:
        thread.join()
    queue.shutdown()
    for thread in consumers:
        thread.join()
    assert sorted(results.get_many(2000)) == [(w, i) for w in range(4) for i in range(300)]


@pytest.mark.skipif(not mappings.KNOWN, reason="the system does not tell")
def test_by_ring_an_array_is_received_where_it_was_written(make_queue: MakeQueue) -> None:
    numpy = pytest.importorskip("numpy")
    queue = make_queue()
    if type(queue._channel).__name__ != "RingChannel":
        pytest.skip("by pipe it is copied out of the socket")
    queue.put(numpy.ones(1 << 20))
    array = queue.get()
    assert "memfd:tines" in mappings.file_of(array)
    array[:] = 2  # and is the receiver's own
    assert array.sum() == 2 << 20
