"""The interface: errors, threads, representation, and the ways that the objects travel."""

from __future__ import annotations

import gc
import multiprocessing.synchronize
import pickle
import threading
from typing import Any

import pytest

import lock_children
from support.processes import Start
from tines.errors import TransportError
from tines.transport.segments import program


def make_all(context: Any) -> list[Any]:
    return [
        context.Lock(),
        context.Condition(),
        context.Event(),
        context.Barrier(1),
        context.BoundedSemaphore(2),
    ]


def test_they_are_of_the_standard_library_s_classes(context: Any) -> None:
    for each in [*make_all(context), context.RLock(), context.Semaphore()]:
        assert isinstance(each, getattr(multiprocessing.synchronize, type(each).__name__))
    assert isinstance(context.BoundedSemaphore(), type(context.Semaphore()))


@pytest.mark.watchdog(120)
def test_they_travel(context: Any, start: Start, method: str) -> None:
    names = ["Lock", "Condition", "Event", "Barrier", "BoundedSemaphore"]
    things = make_all(context)
    with context.Pool(1, initargs=(things,), initializer=lock_children.use) as pool:
        assert pool.apply(lock_children.use, (things,)) == names
    assert things[2].is_set()
    queue = context.Queue()
    queue.put(things)
    mine = queue.get()
    assert mine[0] is not things[0]
    with mine[0]:
        assert things[0].locked() and not things[0].acquire(False)


def test_a_stale_handle_opens_nothing(context: Any) -> None:
    data = pickle.dumps(context.Lock(), 4)
    gc.collect()
    with pytest.raises(TransportError, match="the lock is gone"):
        pickle.loads(data)


def test_what_nobody_has_is_given_back(context: Any) -> None:
    segment = program.home()
    gc.collect()
    before = segment.census()["references"]
    things = [make_all(context) for _ in range(20)]
    assert segment.census()["references"] > before
    del things
    gc.collect()
    assert segment.census()["references"] == before


def test_a_recursive_lock_is_its_thread_s(context: Any) -> None:
    lock = context.RLock()
    outcome: list[Any] = []

    def other() -> None:
        outcome.append(lock.acquire(False))
        with pytest.raises(AssertionError, match="not owned by thread"):
            lock.release()
        outcome.append(repr(lock))

    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert outcome == [False, "<RLock(SomeOtherThread, nonzero)>"]
    assert repr(lock) == "<RLock(None, 0)>"


def test_threads_take_turns(context: Any) -> None:
    lock, total = context.Lock(), [0]

    def add() -> None:
        for _ in range(3000):
            with lock:
                total[0] = total[0] + 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total == [12000]


def test_released_too_often(context: Any) -> None:
    for each in (context.Lock(), context.BoundedSemaphore(2)):
        with pytest.raises(ValueError, match="released too many times"):
            each.release()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda c: c.Semaphore(-1), ValueError, "value=-1"),
        (lambda c: c.Semaphore("2"), TypeError, "value must be a whole number, not '2'"),
        (lambda c: c.BoundedSemaphore(2000, owned=True), ValueError, "owned=True"),
        (lambda c: c.Condition(threading.Lock()), TypeError, "lock="),
        (lambda c: c.Barrier(0), ValueError, "parties=0"),
        (lambda c: c.Lock().acquire(timeout="1"), TypeError, "timeout='1'"),
        (lambda c: c.Condition().notify(), AssertionError, "not owned"),
        (lambda c: c.Condition().wait(0), AssertionError, "acquire"),
    ],
)
def test_bad_input(context: Any, make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(context)


def test_a_condition_wakes_with_a_lock_taken_twice(context: Any, start: Start) -> None:
    condition, answers = context.Condition(), context.Queue()
    with condition, condition:
        assert not condition.wait(0.01)
        assert condition._lock._semlock._count() == 2
    start(lock_children.await_notification, condition, answers)
    assert condition.acquire(timeout=30)  # it was let go of entirely
    condition.release()


def test_values_and_arrays_use_ours(context: Any, start: Start) -> None:
    value, holding = context.Value("i", 0), context.Event()
    child = start(lock_children.hold, value.get_lock(), holding)
    assert holding.wait(30)
    child.kill()
    with value.get_lock():
        value.value += 1
    assert value.get_lock().deaths == 1
