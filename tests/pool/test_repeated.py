"""A large argument that comes again while much is under way is sent once; a call gets what was there then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import tines
from support.waiting import wait_for
from tines.transport import named

numpy: Any = pytest.importorskip("numpy", reason="numpy is not installed")
_native = pytest.importorskip("tines._native", reason="the native core is not there")

SIZE = 16 << 20
CALLS = 24

gate: Any = None


def wait_at(event: Any) -> None:
    global gate
    gate = event


def total(array: Any, write: int = 0) -> int:
    gate.wait(60)
    found = int(array[0]) + int(array[-1])
    array += write
    assert int(array[0]) + int(array[-1]) == found + 2 * write
    return found


def die_once(array: Any, marker: str) -> int:
    gate.wait(60)
    array += 1
    if not os.path.exists(marker):
        open(marker, "x").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return int(array[0]) + int(array[-1])


def census(what: str) -> int:
    from tines.transport.segments import program

    return program.home().census()[what]


@pytest.fixture
def event() -> Any:
    return tines.Event()


@pytest.fixture
def pool(event: Any) -> Iterator[Any]:
    with tines.Pool(1, wait_at, (event,), transport=named("ring")) as pool:
        pool.apply(os.getpid)
        yield pool


def test_it_is_sent_once(pool: Any, event: Any) -> None:
    """However many wait: without that there would be a copy for each."""
    before = census("bytes_used")
    array = numpy.ones(SIZE, "u1")
    results = [pool.apply_async(total, (array, 1)) for _ in range(CALLS)]
    assert census("bytes_used") - before <= 8 * SIZE + (1 << 20)
    event.set()
    assert [result.get(60) for result in results] == [2] * CALLS, (
        "what one writes the next does not see"
    )
    assert (array == 1).all()


def test_a_change_between_two_calls_is_noticed(pool: Any, event: Any) -> None:
    array = numpy.zeros(SIZE, "u1")
    results, expected = [], []
    for number in range(CALLS):
        if number % 4 == 3:  # also in the one place that no sample has
            array[-1 if number % 8 == 3 else 0] += 1
        results.append(pool.apply_async(total, (array, number % 3)))
        expected.append(int(array[0]) + int(array[-1]))
    event.set()
    assert [result.get(60) for result in results] == expected


def test_others_in_its_place(pool: Any, event: Any) -> None:
    """New arrays have the addresses and the numbers of ones that are gone."""
    results = []
    for number in range(10):
        array = numpy.full(SIZE, number, "u1")
        results += [pool.apply_async(total, (array,)) for _ in range(2)]
        del array
    event.set()
    assert [result.get(60) for result in results] == [2 * n for n in range(10) for _ in range(2)]


def test_nothing_is_kept_of_what_is_gone(pool: Any, event: Any) -> None:
    before = census("held")
    array = numpy.ones(SIZE, "u1")
    results = [pool.apply_async(total, (array,)) for _ in range(CALLS)]
    del array
    event.set()
    assert [result.get(60) for result in results] == [2] * CALLS
    del results
    wait_for(lambda: census("held") <= before)


def test_nothing_is_kept_of_a_pool_that_ended(event: Any) -> None:
    before = census("held")
    array = numpy.ones(SIZE, "u1")
    with tines.Pool(1, wait_at, (event,), transport=named("ring")) as pool:
        results = [pool.apply_async(total, (array,)) for _ in range(CALLS)]
        pool.terminate()
        pool.join()
    del results
    wait_for(lambda: census("held") <= before)


def test_a_worker_that_is_killed_with_it(pool: Any, event: Any, tmp_path: Any) -> None:
    """The next attempt sees nothing of what the first has written."""
    before = census("held")
    array = numpy.ones(SIZE, "u1")
    ahead = [pool.apply_async(total, (array,)) for _ in range(CALLS)]
    marker = str(tmp_path / "died")
    result = pool.apply_async(die_once, (array, marker), retries=1)
    event.set()
    assert result.get(60) == 4
    assert [each.get(60) for each in ahead] == [2] * CALLS
    del array, ahead, result
    wait_for(lambda: census("held") <= before)


def test_in_the_items_of_a_map(pool: Any, event: Any) -> None:
    array = numpy.ones(SIZE, "u1")
    result = pool.starmap_async(total, [(array, n % 2) for n in range(CALLS)], chunksize=1)
    event.set()
    assert result.get(60) == [2] * CALLS
