"""What travels: functions of every kind, large constants, arrays, and what cannot."""

from __future__ import annotations

import functools
import gc
import logging
import multiprocessing.pool
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import (
    Picky,
    fail,
    get_state,
    memory_of,
    nap,
    raise_picky,
    scale,
    scale_in_place,
    set_state,
    square,
    total,
    total_of,
    total_until,
    unloadable,
    unpicklable,
)
from pool_tools import MakePool, outcomes
from support.waiting import wait_for
from tines.errors import DecodeError, EncodeError, ResultEncodeError
from tines.pool import MapResult, MaybeEncodingError
from tines.wire.tracebacks import RemoteError

numpy = pytest.importorskip("numpy")


def test_functions_that_pickle_cannot(make: MakePool, method: str) -> None:
    pool = make(2, method=method)
    offset = 10

    def local(x: int) -> int:
        return x + offset

    class Adder:
        def __init__(self, y: int) -> None:
            self.y = y

        def add(self, x: int) -> int:
            return x + self.y

    assert pool.apply(lambda x: x + 1, (1,)) == 2
    assert pool.map(local, range(3)) == [10, 11, 12]
    assert list(pool.imap(lambda x: x * offset, range(3))) == [0, 10, 20]
    assert pool.map(Adder(5).add, range(3)) == [5, 6, 7]
    assert pool.apply(functools.partial(local), (1,)) == 11


def test_a_callable_that_changes_between_calls_is_sent_anew(make: MakePool) -> None:
    pool = make()
    values = [1, 2]
    bound = functools.partial(total_of, values)
    assert pool.apply(bound, (0,)) == 1
    values[0] = 7
    assert pool.apply(bound, (0,)) == 7
    assert pool.map(bound, [0, 1]) == [7, 8]
    values[0] = 9
    assert pool.map(bound, [0, 1]) == [9, 10]


def test_arrays_come_and_go(make: MakePool) -> None:
    pool = make()
    array = numpy.arange(200_000, dtype=float)
    assert pool.apply(total, (array,)) == array.sum()
    results = [pool.apply_async(scale, (array, factor)) for factor in range(5)]
    for factor, result in enumerate(results):
        value = result.get()
        assert (value == array * factor).all()
        value += 1  # it is ours
        assert result.get() is value
    for scaled in pool.map(functools.partial(scale, factor=2), [array] * 6):
        assert (scaled == array * 2).all()
    assert array[1] == 1


def test_retries_see_the_arguments_of_the_call(make: MakePool, tmp_path: Path) -> None:
    pool = make(1)
    array = numpy.zeros(100_000)
    blocker = pool.apply_async(nap, (0.2,))
    result = pool.apply_async(total_until, (str(tmp_path), 3, array), retries=2)
    array += 1
    assert blocker.get() == 0.2
    assert result.get() == 0
    assert pool.statistics().retried == 2


@pytest.mark.parametrize("way", ["map", "imap", "initializer"])
def test_a_large_constant_is_sent_once_and_exists_once(
    make: MakePool, method: str, way: str
) -> None:
    size = 64 * 1024 * 1024
    constant = numpy.ones(size // 8)
    if way == "initializer":
        pool = make(2, set_state, ("constant", constant), method=method)
        sent = 0
        assert pool.map(_size_of_state, range(8), chunksize=1) == [size] * 8
    else:
        pool = make(2, method=method)
        found: Any = getattr(pool, way)(functools.partial(memory_of, constant), range(20), 1)
        memory = dict(found)
        if pool._core.transport.name == "ring" and method != "fork":
            # Shares of pages are counted in proportion, so one copy counts once in all.
            assert sum(memory.values()) < 1.6 * size + len(memory) * 40 * 1024 * 1024
        sent = pool._core.tasks.statistics().bytes
    assert sent < size / 10


def _size_of_state(_: int) -> int:
    return int(get_state("constant").nbytes)


def test_the_constant_of_a_map_is_given_back(make: MakePool) -> None:
    pool = make()
    constant = numpy.ones(100_000)
    result: MapResult = pool.map_async(functools.partial(total_of, constant), range(5))
    assert result.get() == [1, 2, 3, 4, 5]
    assert result._shared is None
    iterator = pool.imap(functools.partial(total_of, constant), range(5))
    assert list(iterator) == [1, 2, 3, 4, 5]
    assert iterator._shared is None


def test_a_constant_is_sent_again_only_when_it_has_changed(make: MakePool) -> None:
    pool = make(2)
    if pool._core.transport.name != "ring":
        pytest.skip("pipes send it for each map")
    constant = numpy.ones(100_000)
    constants = pool._core.functions.constants
    for _ in range(3):  # another partial each time, of the same array
        assert pool.map(functools.partial(total_of, constant), [0, 1], 1) == [1, 2]
        assert pool.apply(functools.partial(total_of, constant), (5,)) == 6
        assert list(pool.imap(functools.partial(total_of, constant), [2])) == [3]
    (first,) = constants._kept
    constant[0] = 8
    assert pool.apply(functools.partial(total_of, constant), (0,)) == 8
    assert pool.map(functools.partial(total_of, constant), [0, 1], 1) == [8, 9]
    assert len(constants._kept) == 2
    del first, constant
    gc.collect()
    assert not constants._kept


def test_a_task_that_changes_its_constant_changes_it_for_no_other_call(make: MakePool) -> None:
    pool = make(1)
    bound = functools.partial(scale_in_place, numpy.ones(100_000))
    assert [pool.apply(bound, (3,)) for _ in range(4)] == [3] * 4
    results = [pool.apply_async(bound, (factor,)) for factor in range(4)]
    assert [result.get() for result in results] == [0, 1, 2, 3]
    for _ in range(3):
        assert pool.map(bound, [7], 1) == [7]


def test_repeated_calls_send_a_constant_once(make: MakePool) -> None:
    pool = make(2)
    if pool._core.transport.name != "ring":
        pytest.skip("pipes send it for each map")
    constant = numpy.ones(1_000_000)
    bound = functools.partial(total_of, constant)
    results = [pool.apply_async(bound, (0,)) for _ in range(50)]
    assert [result.get() for result in results] == [1] * 50
    assert len(pool._core.functions.constants._kept) == 1
    assert all(result.constant is None for result in results)


def test_an_interrupt_while_a_map_is_sent_leaves_nothing_behind(make: MakePool) -> None:
    pool = make()
    items = [1] * 100 + [Interrupting()] + [2] * 40
    with pytest.raises(KeyboardInterrupt):
        pool.map(square, items, chunksize=1)
    iterator = pool.imap(square, [3], buffersize=300)
    assert list(iterator) == [9]
    with pytest.raises(KeyboardInterrupt):
        pool.imap_unordered(square, items, buffersize=300)
    assert pool.map(square, range(3), chunksize=1) == [0, 1, 4]
    wait_for(lambda: not pool._core.state.pending)
    assert not pool._core.state.jobs
    pool.close()
    pool.join()


class Interrupting:
    """Stands for Ctrl-C that comes while the caller's thread pickles."""

    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


def test_arguments_that_cannot_be_sent_are_refused_at_once(make: MakePool) -> None:
    pool = make()
    with pytest.raises(EncodeError, match="lock"):
        pool.apply_async(square, (threading.Lock(),))
    with pytest.raises((pickle.PicklingError, TypeError)):
        pool.apply(square, (threading.Lock(),))
    with pytest.raises(EncodeError):
        pool.map(square, [1, threading.Lock(), 3], chunksize=1)
    found = outcomes(pool.imap(square, [1, threading.Lock(), 3]))
    assert found[::2] == [1, 9]
    assert isinstance(found[1], EncodeError)
    assert pool.apply(square, (3,)) == 9
    assert not pool._core.state.pending


def test_results_that_cannot_be_sent(make: MakePool) -> None:
    pool = make()
    for kind in (MaybeEncodingError, multiprocessing.pool.MaybeEncodingError, ResultEncodeError):
        with pytest.raises(kind, match=r"Error sending result: .*lock.*Reason: "):
            pool.apply(unpicklable)
    with pytest.raises(MaybeEncodingError):
        pool.map(_sometimes_unpicklable, range(6), chunksize=3)
    found = outcomes(pool.imap(_sometimes_unpicklable, range(6), chunksize=3))
    assert [found[0], found[1], *found[3:]] == [0, 1, 3, 4, 5]
    assert isinstance(found[2], MaybeEncodingError)


def _sometimes_unpicklable(x: int) -> Any:
    return threading.Lock() if x == 2 else x


def test_results_that_do_not_unpickle_cost_their_own_task_alone(make: MakePool) -> None:
    pool = make()
    result = pool.apply_async(unloadable)
    assert pool.apply(square, (3,)) == 9
    with pytest.raises(DecodeError, match="refused to be unpickled"):
        result.get()
    assert not result.successful()
    with pytest.raises(DecodeError):
        pool.map_async(_sometimes_unloadable, range(4)).get(timeout=20)
    found = outcomes(pool.imap(_sometimes_unloadable, range(4)))
    assert [found[0], found[1], found[3]] == [0, 1, 3]
    assert isinstance(found[2], DecodeError)


def _sometimes_unloadable(x: int) -> Any:
    return unloadable() if x == 2 else x


def test_exceptions_that_do_not_unpickle_have_a_stand_in(make: MakePool) -> None:
    pool = make()
    with pytest.raises(RemoteError, match=r"Picky: 1 and 2") as caught:
        pool.apply(raise_picky)
    assert caught.value.type_name.endswith(Picky.__name__)
    assert "raise_picky" in str(caught.value.__cause__)
    with pytest.raises(RemoteError):
        pool.map(_raise_picky, range(3))


def _raise_picky(_: int) -> None:
    raise_picky()


def test_errors_that_nobody_looks_at_are_logged_once(
    make: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make()
    seen = pool.apply_async(fail, ("seen",))
    with pytest.raises(KeyError):
        seen.get()
    asked = pool.apply_async(fail, ("asked",))
    assert isinstance(asked.exception(), KeyError)
    called: list[Any] = []
    pool.apply_async(fail, ("called",), error_callback=called.append).wait()
    unseen = pool.apply_async(fail, ("unseen",))
    unseen.wait()
    kept = pool.apply_async(fail, ("kept",))
    kept.wait()
    del seen, asked
    gc.collect()
    assert not caplog.records
    del unseen
    gc.collect()
    wait_for(lambda: caplog.records)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.name == "tines.pool"
    assert "unseen" in record.getMessage()
    assert "pool_tasks.py" in record.getMessage()
    pool.apply_async(fail, ("dropped",))
    wait_for(lambda: len(caplog.records) == 2)
    pool.terminate()
    assert sorted("kept" in record.getMessage() for record in caplog.records) == [
        False,
        False,
        True,
    ]
    del kept
    gc.collect()
    assert len(caplog.records) == 3
