"""What the standard library's Pool does, this one does."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import add, fail, fail_at, get_state, hold, nap, nested, pid, set_state, square
from pool_tools import MakePool, outcomes
from support.numbers import Whole
from support.waiting import PATIENCE
from tines.pool import Pool, ThreadPool
from tines.transport import named


def test_every_start_method(make: MakePool, method: str) -> None:
    with make(2, method=method) as pool:
        assert pool.apply(square, (3,)) == 9
        assert pool.map(square, range(100)) == [x * x for x in range(100)]
        assert sorted(pool.imap_unordered(square, range(10))) == [x * x for x in range(10)]
        assert pool.apply_async(add, (1,), {"y": 2}).get() == 3


def test_apply_raises_what_the_task_raised_with_its_traceback(make: MakePool) -> None:
    pool = make()
    with pytest.raises(KeyError, match="boo") as caught:
        pool.apply(fail)
    assert "pool_tasks.py" in str(caught.value.__cause__)
    assert "raise KeyError(message)" in str(caught.value.__cause__)


@pytest.mark.parametrize("chunksize", [None, 1, 7, 1000])
@pytest.mark.parametrize("count", [0, 1, 5, 500])
def test_maps_keep_order(make: MakePool, count: int, chunksize: int | None) -> None:
    pool = make()
    assert pool.map(square, range(count), chunksize) == [x * x for x in range(count)]
    assert pool.map(square, iter(range(count)), chunksize) == [x * x for x in range(count)]
    pairs = [(x, 2 * x) for x in range(count)]
    assert pool.starmap(add, pairs, chunksize) == [3 * x for x in range(count)]
    assert pool.map_async(square, range(count), chunksize).get() == [x * x for x in range(count)]
    assert pool.starmap_async(add, pairs, chunksize).get() == [3 * x for x in range(count)]


@pytest.mark.parametrize(
    ("chunksize", "error"), [(-1, ValueError), (2.5, TypeError), ("2", TypeError)]
)
def test_a_chunksize_that_is_none(make: MakePool, chunksize: Any, error: type) -> None:
    pool = make(1)
    for call in (pool.map, pool.map_async, pool.starmap, pool.imap, pool.imap_unordered):
        with pytest.raises(error, match=r"(?i)chunksize.*(-1|2)"):
            call(square, range(5), chunksize)
    assert pool.map(square, range(5), Whole(2)) == [0, 1, 4, 9, 16]
    assert list(pool.imap(square, range(5), Whole(2))) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("processes", ["2", 2.0, []])
def test_a_number_of_processes_that_is_none(processes: Any) -> None:
    with pytest.raises(TypeError, match="processes must be a whole number"):
        Pool(processes)


@pytest.mark.parametrize("given", [{"niceness": "5"}, {"affinity": "01"}, {"affinity": 3}])
def test_limits_of_the_wrong_type_are_refused_before_a_worker_fails(given: Any) -> None:
    (name,) = given
    with pytest.raises(TypeError, match=f"^{name}.* must (list|be)"):
        Pool(1, **given)
    with pytest.raises(TypeError, match=r"affinity=\[\] must list"):
        Pool(1, affinity=[])


def test_a_context_that_is_none() -> None:
    with pytest.raises(TypeError, match=r"context='spawn' is not a context.*get_context"):
        Pool(1, context="spawn")


def test_a_pool_that_cannot_be_announced_leaves_no_workers(monkeypatch: Any) -> None:
    monkeypatch.setenv("TINES_INSIGHT", "nobody")
    with pytest.raises(ValueError, match="TINES_INSIGHT='nobody'") as caught:
        Pool(1)
    # The traceback still holds the pool.
    assert caught.tb is not None and not multiprocessing.active_children()


def test_a_map_raises_the_exception_of_an_item_after_all_have_run(make: MakePool) -> None:
    pool = make()
    for chunksize in (None, 1, 4):
        result = pool.map_async(partial(fail_at, 5), range(20), chunksize)
        with pytest.raises(ValueError, match="no 5"):
            result.get()
        assert not result.successful()


@pytest.mark.parametrize("chunksize", [1, 3, 50])
@pytest.mark.parametrize("buffersize", [None, 1, 5])
def test_iterators(make: MakePool, chunksize: int, buffersize: int | None) -> None:
    pool = make()
    expected = [x * x for x in range(100)]
    for source in (range(100), (x for x in range(100)), []):
        wanted = expected if source != [] else []
        iterator = pool.imap(square, source, chunksize, buffersize=buffersize)
        assert list(iterator) == wanted
        assert list(iterator) == []
    for source in (range(100), (x for x in range(100))):
        found = list(pool.imap_unordered(square, source, chunksize, buffersize=buffersize))
        assert sorted(found) == expected


@pytest.mark.parametrize("chunksize", [1, 4])
def test_an_iterator_raises_in_the_place_of_the_item_and_goes_on(
    make: MakePool, chunksize: int
) -> None:
    pool = make()
    found = outcomes(pool.imap(partial(fail_at, 5), range(10), chunksize))
    assert [x for x in found if not isinstance(x, Exception)] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert isinstance(found[5], ValueError)
    found = outcomes(pool.imap_unordered(partial(fail_at, 5), range(10), chunksize))
    assert sorted(x for x in found if not isinstance(x, Exception)) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert len(found) == 10


def test_an_input_that_raises_loses_no_result_of_what_came_before(make: MakePool) -> None:
    def source(items: int) -> Iterator[int]:
        yield from range(items)
        raise LookupError("no more")

    pool = make()
    for items in (0, 1, 40):
        for iterate in (pool.imap, pool.imap_unordered):
            *found, error = outcomes(iterate(square, source(items)))
            assert sorted(found) == [x * x for x in range(items)]
            assert isinstance(error, LookupError)


def test_next_with_a_timeout(make: MakePool, tmp_path: Path) -> None:
    pool = make(1)
    gate = tmp_path / "gate"
    iterator = pool.imap(hold, [str(tmp_path), str(gate)])
    assert iterator.next(timeout=PATIENCE) is None
    with pytest.raises(multiprocessing.TimeoutError):
        iterator.next(timeout=0.01)
    gate.touch()
    assert iterator.next(timeout=PATIENCE) is None
    with pytest.raises(StopIteration):
        iterator.next()


def test_get_and_wait_with_a_timeout(make: MakePool, tmp_path: Path) -> None:
    pool = make()
    gate = tmp_path / "gate"
    result = pool.apply_async(hold, (str(gate), 7))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    mapped = pool.map_async(hold, [str(gate)])
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.02)
    result.wait(0.02)
    with pytest.raises(TimeoutError):
        mapped.get(timeout=0.01)
    assert not result.ready() and not mapped.ready()
    gate.touch()
    assert result.get(timeout=PATIENCE) == 7
    assert result.ready()
    assert result.successful()
    assert mapped.get() == [None]


def test_ready_becomes_true_without_anybody_waiting(make: MakePool) -> None:
    pool = make()
    results = [pool.apply_async(square, (x,)) for x in range(50)]
    until = time.monotonic() + 20
    while not all(result.ready() for result in results):
        assert time.monotonic() < until
        time.sleep(0.001)
    assert all(result.successful() for result in results)


def test_callbacks_are_called_before_the_result_counts_as_ready(make: MakePool) -> None:
    pool = make()
    good: list[Any] = []
    bad: list[Any] = []
    threads: list[Any] = []

    def note(value: Any) -> None:
        threads.append(threading.current_thread())
        good.append(value)

    for _ in range(20):
        pool.apply_async(square, (2,), callback=note, error_callback=bad.append).wait()
    assert good == [4] * 20
    pool.map_async(square, range(3), callback=good.append, error_callback=bad.append).wait()
    assert good[-1] == [0, 1, 4]
    pool.apply_async(fail, callback=good.append, error_callback=bad.append).wait()
    pool.map_async(
        partial(fail_at, 1), range(3), callback=good.append, error_callback=bad.append
    ).wait()
    assert [type(error) for error in bad] == [KeyError, ValueError]
    assert len(good) == 21
    assert threading.current_thread() not in threads


def test_initializer_runs_once_in_each_worker(make: MakePool, method: str) -> None:
    pool = make(2, set_state, ("key", [1, 2]), method=method)
    assert pool.map(get_state, ["key"] * 10) == [[1, 2]] * 10


def test_maxtasksperchild(make: MakePool) -> None:
    pool = make(1, None, (), 3)
    pids = pool.map(pid, range(9), chunksize=1)
    assert len(set(pids)) == 3
    assert all(pids.count(one) == 3 for one in pids)


def test_misuse_says_what_the_standard_library_says(make: MakePool) -> None:
    with pytest.raises(ValueError, match="Number of processes must be at least 1"):
        make(0)
    with pytest.raises(ValueError, match="maxtasksperchild must be a positive int or None"):
        make(1, None, (), 0)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        make(1, 5)
    pool = make()
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()
    with pytest.raises(ValueError, match=r"Chunksize must be 1\+, not 0"):
        pool.imap(square, [], 0)
    with pytest.raises(NotImplementedError, match="cannot be passed between processes or pickled"):
        pickle.dumps(pool)
    with pytest.raises(TypeError, match="not iterable"):
        pool.map(square, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no task option 'retires'"):
        pool.apply(square, (1,), retires=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="callback=5 is not callable"):
        pool.apply_async(square, (1,), callback=5)  # type: ignore[arg-type]
    pool.close()
    for call in (
        lambda: pool.apply(square, (1,)),
        lambda: pool.apply_async(square, (1,)),
        lambda: pool.map(square, [1]),
        lambda: pool.imap(square, [1]),
        pool.__enter__,
    ):
        with pytest.raises(ValueError, match="Pool not running"):
            call()
    pool.join()


def test_close_finishes_what_was_accepted(make: MakePool) -> None:
    pool = make()
    calls = [pool.apply_async(nap, (0.01,)) for _ in range(20)]
    mapped = pool.map_async(square, range(1000))
    ordered = pool.imap(square, (x for x in range(3000)))
    unordered = pool.imap_unordered(square, range(3000))
    pool.close()
    pool.join()
    assert [call.get() for call in calls] == [0.01] * 20
    assert mapped.get() == [x * x for x in range(1000)]
    assert list(ordered) == [x * x for x in range(3000)]
    assert sorted(unordered) == [x * x for x in range(3000)]


def test_several_threads_share_a_pool(make: MakePool) -> None:
    pool = make()
    failures: list[BaseException] = []

    def use(number: int) -> None:
        try:
            for x in range(30):
                assert pool.apply(add, (number, x)) == number + x
                assert pool.apply_async(add, (x,)).get() == x
            assert pool.map(partial(add, number), range(100)) == list(range(number, number + 100))
            assert list(pool.imap(square, range(50))) == [x * x for x in range(50)]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_two_pools_at_once(make: MakePool) -> None:
    one, two = make(), make()
    first = [one.apply_async(square, (x,)) for x in range(50)]
    second = [two.apply_async(add, (x, 1)) for x in range(50)]
    assert [result.get() for result in second] == [x + 1 for x in range(50)]
    assert [result.get() for result in first] == [x * x for x in range(50)]


def test_nested_pools(make: MakePool) -> None:
    pool = make()
    assert pool.map(nested, [3, 4]) == [[0, 1, 4], [0, 1, 4, 9]]


def test_results_outlive_the_pool(make: MakePool) -> None:
    pool = make()
    results = [pool.apply_async(square, (x,)) for x in range(5)]
    pool.close()
    pool.join()
    assert [result.get() for result in results] == [0, 1, 4, 9, 16]


def test_a_pool_that_nobody_holds_finishes_what_somebody_waits_for(
    recwarn: pytest.WarningsRecorder,
) -> None:
    result = Pool(2, transport=named("pipe")).map_async(nap, [0.1] * 4)
    assert result.get(timeout=20) == [0.1] * 4


def test_thread_pool_is_the_standard_library_s() -> None:
    assert issubclass(Pool, object)
    with ThreadPool(2) as pool:
        assert pool.map(square, range(3)) == [0, 1, 4]


def test_istarmap_of_a_thread_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a program has put its own into ``Pool``, which a ``ThreadPool`` is."""

    def recipe(self: Pool, func: object, iterable: object, chunksize: int = 1) -> None:
        raise AssertionError("for the standard library's insides")

    with ThreadPool(2) as pool:
        assert list(pool.istarmap(divmod, [(7, 2), (9, 4)])) == [(3, 1), (2, 1)]
        assert sorted(pool.istarmap_unordered(pow, [(2, 3), (3, 2)], chunksize=2)) == [8, 9]
        monkeypatch.setattr(Pool, "istarmap", recipe)
        assert list(pool.istarmap(divmod, [(7, 2)])) == [(3, 1)]
