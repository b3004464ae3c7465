"""Private names of the standard library's pool and results that programs read, and ``istarmap``."""

from __future__ import annotations

import gc
import multiprocessing.pool as standard
import weakref
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import add, fail, fail_at, hold, square
from pool_tools import MakePool, outcomes
from support.waiting import wait_for
from tines import context
from tines.pool import Pool

WORKER_NAMES = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}


def test_the_workers_can_be_looked_at(make: MakePool, method: str) -> None:
    pool = make(2, method=method)
    workers = pool._pool
    assert len(workers) == pool._processes == 2
    for worker in workers:
        assert worker.is_alive() and worker.daemon and worker.exitcode is None
        assert worker.pid == worker.ident > 0
        kind, number = worker.name.split("-")
        assert kind == f"{WORKER_NAMES[method]}PoolWorker" and int(number.rpartition(":")[2]) > 0
    assert pool._ctx is context.default.get_context(method)
    pool.terminate()
    assert pool._pool == []
    for worker in workers:
        assert not worker.is_alive() and isinstance(worker.exitcode, int)
        worker.join(0)
        worker.kill()


def test_a_worker_that_is_killed_there_is_replaced(make: MakePool) -> None:
    pool = make(2)
    assert pool.map(square, range(4)) == [0, 1, 4, 9]
    victim = pool._pool[0]
    victim.kill()
    victim.join()
    wait_for(lambda: len(pool._pool) == 2 and all(worker.is_alive() for worker in pool._pool))
    assert victim.exitcode == -9 and victim.pid not in {worker.pid for worker in pool._pool}
    pool._repopulate_pool()
    pool._maintain_pool()
    assert not pool._join_exited_workers() and len(pool._pool) == 2
    pool.resize(3)
    assert pool._processes == 3


def test_the_name_of_a_worker_without_a_context() -> None:
    with Pool(1) as pool:
        (worker,) = pool._pool
        assert worker.name.startswith(f"{WORKER_NAMES[pool._ctx.get_start_method()]}PoolWorker-")
    assert pool._ctx is context.default.get_context(pool._ctx.get_start_method())


def test_where_a_pool_stands(make: MakePool, tmp_path: Path) -> None:
    pool = make(1, None, (), 7)
    gate = tmp_path / "gate"
    assert pool._maxtasksperchild == 7
    assert (pool._state, len(pool._cache), pool._taskqueue.qsize()) == (standard.RUN, 0, 0)
    assert pool._taskqueue.empty()
    first = pool.apply_async(hold, (str(gate),))
    wait_for(first.running)
    others = [pool.apply_async(square, (n,)) for n in range(3)]
    mapped = pool.map_async(square, range(5), 1)
    assert len(pool._cache) == 5, "four calls and a map"
    assert pool._taskqueue.qsize() == 8 and not pool._taskqueue.empty()
    pool.close()
    assert pool._state == standard.CLOSE
    gate.touch()
    assert [each.get() for each in others] == [0, 1, 4]
    assert mapped.get() == [0, 1, 4, 9, 16]
    pool.join()
    assert (len(pool._cache), pool._taskqueue.qsize()) == (0, 0)
    pool.terminate()
    other = make(1)
    other.terminate()
    assert other._state == standard.TERMINATE
    for name in ("_pool", "_processes", "_state", "_cache", "_taskqueue"):
        with pytest.raises(AttributeError):
            setattr(pool, name, None)


def test_how_far_a_map_is(make: MakePool, tmp_path: Path) -> None:
    pool = make(1)
    gate = tmp_path / "gate"
    held = pool.map_async(hold, [str(gate)] * 7, 2)
    assert (held._number_left, held._chunksize, held._success) == (4, 2, True)
    assert not held._event.is_set() and not held._event.wait(0)
    unsized = pool.map_async(square, range(9))
    assert (unsized._chunksize, unsized._number_left) == (3, 3)
    gate.touch()
    assert held._event.wait()
    assert (held._number_left, held._value, held._success) == (0, [None] * 7, True)
    failed = pool.apply_async(fail)
    failed.wait()
    assert not failed._success and isinstance(failed._value, KeyError)
    with pytest.raises(KeyError):
        failed.get()
    iterator = pool.imap(square, iter(range(5)))
    assert list(iterator) == [0, 1, 4, 9, 16]
    assert (iterator._index, iterator._length) == (5, 5)


@pytest.mark.parametrize("chunksize", [1, 3])
def test_istarmap(make: MakePool, chunksize: int) -> None:
    pool = make()
    pairs = [(n, 2 * n) for n in range(20)]
    expected = [3 * n for n in range(20)]
    assert list(pool.istarmap(add, pairs, chunksize)) == expected
    assert list(pool.istarmap(add, iter(pairs), chunksize, buffersize=4)) == expected
    assert sorted(pool.istarmap_unordered(add, pairs, chunksize)) == expected
    one_bad = outcomes(pool.istarmap(fail_at, [(3, n) for n in range(6)], chunksize))
    assert [n for n in one_bad if isinstance(n, int)] == [0, 1, 2, 4, 5]
    assert isinstance(one_bad[3], ValueError)
    with pytest.raises(TypeError):
        next(pool.istarmap(add, [5], chunksize))
    timed = pool.istarmap(add, pairs, chunksize, timeout=30, retries=1)
    assert list(timed) == expected


def recipe(pool: Any, func: Any, iterable: Any, chunksize: int = 1) -> Any:
    """The ``istarmap`` that half the world has copied, for 3.8 and later."""
    pool._check_running()
    batches = standard.Pool._get_tasks(func, iterable, chunksize)
    result = type(pool.imap(abs, ()))(pool)
    tasks = pool._guarded_task_generation(result._job, standard.starmapstar, batches)
    pool._taskqueue.put((tasks, result._set_length))
    return (item for chunk in result for item in chunk)


@pytest.mark.parametrize("chunksize", [1, 4])
def test_the_recipe_for_istarmap(make: MakePool, method: str, chunksize: int) -> None:
    pool = make(2, method=method)
    pairs = ((n, 1) for n in range(20))
    assert list(recipe(pool, add, pairs, chunksize)) == list(range(1, 21))

    def broken() -> Any:
        yield 1, 1
        raise LookupError("of the input")

    assert isinstance(outcomes(recipe(pool, add, broken()))[-1], LookupError)
    with pytest.raises(TypeError, match="_set_length"):
        pool._taskqueue.put(((), None))
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        recipe(pool, add, [])


def test_a_subclass_says_what_its_workers_are(method: str) -> None:
    """In each form of the recipe for pools whose workers may have children."""
    ctx = context.default.get_context(method)

    class Instance(Pool):
        def Process(self, *args: Any, **kwds: Any) -> Any:  # type: ignore[override]
            process = super().Process(*args, **kwds)
            process.__dict__["made_by"] = "instance"
            return process

    class Static(Pool):
        @staticmethod
        def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
            process = ctx.Process(*args, **kwds)
            process.__dict__["made_by"] = "static"
            return process

    for kind in (Instance, Static):
        with kind(2, context=ctx) as pool:
            assert [worker.made_by for worker in pool._pool] == [kind.__name__.lower()] * 2
            pool._pool[0].kill()
            wait_for(lambda pool=pool: len(pool._pool) == 2 and pool._pool[-1].is_alive())
            assert pool.map(square, range(4), 1) == [0, 1, 4, 9]
        gone = weakref.ref(pool)
        del pool
        gc.collect()
        assert gone() is None


def test_a_context_says_what_its_workers_are() -> None:
    class NoDaemon(context.default.get_context("fork").Process):  # type: ignore[misc,name-defined]
        @property
        def daemon(self) -> bool:
            return False

        @daemon.setter
        def daemon(self, value: bool) -> None:
            pass

    class NoDaemonContext(type(context.default.get_context("fork"))):  # type: ignore[misc]
        Process = NoDaemon

    class Legacy(Pool):
        Process = NoDaemon  # as it was before Python 3.8

    for pool in (Pool(1, context=NoDaemonContext()), Legacy(1)):
        with pool:
            assert [worker.daemon for worker in pool._pool] == [False]
            assert pool.apply(square, (3,)) == 9
