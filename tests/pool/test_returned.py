"""``return_exceptions``, what ``retry_on`` lists by a base class, and what errors name."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from failing_tasks import Picky, busy_until, exit_if, generator_at, raise_picky_until
from pool_tasks import add, fail_at, nap, square
from pool_tools import MakePool, outcomes
from tines import ProcessPoolExecutor, aio
from tines.errors import TaskTimeoutError, WorkerLostError
from tines.pool import Pool

ITEMS = [(3, n) for n in range(8)]


def as_expected(found: list[Any]) -> bool:
    assert isinstance(found[3], ValueError) and "no 3" in str(found[3])
    assert "fail_at" in str(found[3].__cause__), "with its remote traceback"
    return found[:3] + found[4:] == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("chunksize", [1, 3, None])
def test_exceptions_take_the_places_of_their_items(make: MakePool, chunksize: int | None) -> None:
    pool = make()
    size = chunksize or 1
    calls: list[Any] = [
        pool.starmap(fail_at, ITEMS, chunksize, return_exceptions=True),
        pool.starmap_async(fail_at, ITEMS, chunksize, return_exceptions=True).get(),
        list(pool.istarmap(fail_at, ITEMS, size, return_exceptions=True)),
    ]
    for found in calls:
        assert as_expected(found)
    unordered = list(pool.istarmap_unordered(fail_at, ITEMS, size, return_exceptions=True))
    assert sorted(map(str, unordered)) == ["0", "1", "2", "4", "5", "6", "7", "no 3"]
    squares = [pool.map(square, [1, "a", 3], chunksize, return_exceptions=True)]
    squares.append(list(pool.imap(square, [1, "a", 3], size, return_exceptions=True)))
    for found in squares:
        assert (found[0], found[2]) == (1, 9) and isinstance(found[1], TypeError)


def test_a_call_and_a_pool_that_return_exceptions() -> None:
    with Pool(1, return_exceptions=True) as pool:
        assert isinstance(pool.apply(fail_at, (3, 3)), ValueError)
        result = pool.apply_async(fail_at, (3, 3))
        assert isinstance(result.get(), ValueError) and result.exception() is None
        with pytest.raises(ValueError):
            pool.apply(fail_at, (3, 3), return_exceptions=False)
    with pytest.raises(TypeError, match="return_exceptions='yes'"):
        Pool(1, return_exceptions="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("chunksize", [1, 3])
def test_a_death_is_returned_for_its_item(make: MakePool, chunksize: int) -> None:
    pool = make()
    for found in (
        pool.map(exit_if, [0, 1, 0, 0], chunksize, return_exceptions=True),
        list(pool.imap(exit_if, [0, 1, 0, 0], chunksize, return_exceptions=True)),
    ):
        assert isinstance(found[1], WorkerLostError)
        assert [found[0], *found[2:]] == [0, 0, 0]


def test_what_is_no_task_s_is_raised(make: MakePool) -> None:
    pool = make()

    def broken() -> Any:
        yield 1
        raise LookupError("of the input")

    found = outcomes(pool.imap(square, broken(), return_exceptions=True))
    iterator = pool.imap(square, broken(), return_exceptions=True)
    assert found[0] == next(iterator) == 1
    with pytest.raises(LookupError, match="of the input"):
        next(iterator)
    mapped = pool.map_async(nap, [30, 30, 30], 1, return_exceptions=True)
    pool.terminate()
    with pytest.raises(Exception, match="terminated"):
        mapped.get()


def test_of_an_executor_and_of_asyncio() -> None:
    with ProcessPoolExecutor(2) as executor:
        for chunksize in (1, 3):
            found = executor.map(
                fail_at, [3] * 8, range(8), chunksize=chunksize, return_exceptions=True
            )
            assert as_expected(list(found))
            lost = list(executor.map(exit_if, [0, 1], chunksize=chunksize, return_exceptions=True))
            assert isinstance(lost[1], WorkerLostError)

    async def main() -> None:
        async with aio.Pool(2) as pool:
            assert as_expected(await pool.starmap(fail_at, ITEMS, return_exceptions=True))
            iterator = pool.istarmap(fail_at, ITEMS, 3, return_exceptions=True)
            assert as_expected([value async for value in iterator])
            assert [n async for n in pool.istarmap(add, [(1, 2)])] == [3]

    asyncio.run(main())


@pytest.mark.parametrize("kind", [OSError, ConnectionError, Picky])
def test_an_exception_that_does_not_travel_is_retried(
    make: MakePool, tmp_path: Path, kind: type[Exception], method: str
) -> None:
    pool = make(1, method=method)
    call = (str(tmp_path), 3)
    assert pool.apply(raise_picky_until, call, retries=3, retry_on=(kind,)) == 3


@pytest.mark.parametrize("kind", [TaskTimeoutError, TimeoutError, OSError])
def test_a_timeout_is_retried_by_what_it_derives_from(
    make: MakePool, tmp_path: Path, kind: type[Exception]
) -> None:
    pool = make(1)
    options: Any = {"timeout": 0.5, "grace": 0.1, "retries": 2, "retry_on": (kind,)}
    assert pool.apply(busy_until, (str(tmp_path), 2), **options) == 2
    with pytest.raises(TaskTimeoutError):
        pool.apply(busy_until, (str(tmp_path / "other"), 9), **{**options, "retry_on": ()})


def test_a_result_that_cannot_be_sent_is_named(make: MakePool) -> None:
    pool = make(1)
    with pytest.raises(Exception, match=r"generator") as caught:
        pool.map(generator_at, [0, 1, 0], 3)
    assert "[0" not in str(caught.value) and "(0." not in str(caught.value)


def test_a_function_that_the_worker_s_main_module_lacks(make: MakePool, monkeypatch: Any) -> None:
    pool = make(1)
    main = sys.modules["__main__"]
    late: Any = type(square)(square.__code__, {}, "late")
    late.__module__, late.__qualname__ = "__main__", "late"
    monkeypatch.setattr(main, "late", late, raising=False)
    monkeypatch.setattr(main, "__file__", __file__, raising=False)
    with pytest.raises(AttributeError, match=r"'late'.*before the pool"):
        pool.apply(late, (1,))


@pytest.mark.parametrize(
    ("make_one", "nearest"),
    [
        (lambda: Pool(1, maxtaskperchild=1), "maxtasksperchild"),  # type: ignore[call-arg]
        (lambda: Pool(process=1), "processes"),  # type: ignore[call-arg]
        (lambda: ProcessPoolExecutor(max_task_per_child=1), "max_tasks_per_child"),
        (lambda: ProcessPoolExecutor(max_worker=1), "max_workers"),
    ],
)
def test_what_is_misspelt_is_suggested(make_one: Any, nearest: str) -> None:
    with pytest.raises(TypeError, match=f"there are: {nearest},"):
        make_one()
