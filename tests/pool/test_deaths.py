"""Workers that die: only the running item is affected, and the pool goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import (
    broken_initializer,
    deadly_initializer,
    deadly_result,
    end,
    end_at,
    end_until,
    fail_until,
    mark_and_end_at,
    nap,
    pid,
    square,
)
from pool_tools import MakePool, outcomes
from support.waiting import wait_for
from tines.errors import PoolBrokenError, ProcessLostError, WorkerLostError

WAYS = ["SIGKILL", "SIGTERM", "SIGABRT", "exit", "sys.exit", "segfault"]


@pytest.mark.parametrize("way", WAYS)
def test_a_death_costs_its_task_alone(make: MakePool, way: str) -> None:
    pool = make()
    others = [pool.apply_async(nap, (0.01,)) for _ in range(20)]
    with pytest.raises(WorkerLostError) as caught:
        pool.apply(end, (way,))
    assert [other.get() for other in others] == [0.01] * 20
    assert pool.map(square, range(10)) == [x * x for x in range(10)]
    error = caught.value
    assert isinstance(error, ProcessLostError)
    assert error.pid not in (None, os.getpid())
    assert str(error.pid) in str(error)
    assert f"end('{way}')" in error.task
    assert error.task in str(error)
    assert error.attempt == 1
    assert len(error.history) == 1
    if way.startswith("SIG"):
        assert error.signal == way
        assert way in str(error)
    elif "exit" in way:
        assert error.exitcode == 7
        assert "exited with code 7" in str(error)


def test_every_start_method(make: MakePool, method: str) -> None:
    pool = make(2, method=method)
    with pytest.raises(WorkerLostError, match="SIGKILL"):
        pool.apply(end, ("SIGKILL",))
    assert pool.map(square, range(10)) == [x * x for x in range(10)]


def test_the_stacks_of_a_crash_are_in_the_error(make: MakePool) -> None:
    with pytest.raises(WorkerLostError) as caught:
        make().apply(end, ("segfault",))
    assert caught.value.signal == "SIGSEGV"
    assert "in end" in (caught.value.dump or "")
    assert "in end" in str(caught.value)


def test_death_while_the_result_is_pickled(make: MakePool) -> None:
    pool = make()
    with pytest.raises(WorkerLostError):
        pool.apply(deadly_result)
    assert pool.apply(square, (2,)) == 4


def test_idle_workers_that_are_killed_are_replaced(make: MakePool) -> None:
    pool = make()
    for _ in range(4):
        for victim in set(pool.map(pid, range(8), chunksize=1)):
            os.kill(victim, signal.SIGKILL)
        assert pool.apply(square, (3,), retries=3) == 9
    assert pool.apply(square, (3,)) == 9


def test_a_task_is_sent_again_if_its_worker_dies_before_it_begins(make: MakePool) -> None:
    """A stopped worker takes the task; it is killed before it has begun anything."""
    pool = make(1)
    victim = pool.apply(pid)
    for _ in range(5):
        os.kill(victim, signal.SIGSTOP)
        result = pool.apply_async(pid)
        os.kill(victim, signal.SIGKILL)
        assert result.get(timeout=20) != victim
        victim = pool.apply(pid)


@pytest.mark.parametrize("chunksize", [None, 1, 5, 20])
def test_only_the_running_item_of_a_map_is_lost(
    make: MakePool, tmp_path: Path, chunksize: int | None
) -> None:
    pool = make()
    with pytest.raises(WorkerLostError, match=r"mark_and_end_at|partial"):
        pool.map(partial(mark_and_end_at, str(tmp_path), 7), range(20), chunksize)
    assert {name.stem for name in tmp_path.iterdir()} == {str(x) for x in range(20)}
    assert not (tmp_path / "7.1").exists()


@pytest.mark.parametrize("chunksize", [1, 5, 20])
@pytest.mark.parametrize("ordered", [True, False])
def test_only_the_running_item_of_an_iterator_is_lost(
    make: MakePool, chunksize: int, ordered: bool
) -> None:
    pool = make()
    imap = pool.imap if ordered else pool.imap_unordered
    found = outcomes(imap(partial(end_at, 7), range(40), chunksize))
    values = [x for x in found if not isinstance(x, Exception)]
    assert sorted(values) == [x for x in range(40) if x != 7]
    (error,) = [x for x in found if isinstance(x, Exception)]
    assert isinstance(error, WorkerLostError)
    if ordered:
        assert found.index(error) == 7
        assert values == sorted(values)


def test_what_a_long_chunk_has_done_is_not_done_again(make: MakePool, tmp_path: Path) -> None:
    pool = make(1)
    result = pool.map_async(partial(mark_and_end_at, str(tmp_path), 45), range(50), 50)
    with pytest.raises(WorkerLostError):
        result.get()
    runs = {name.stem: 0 for name in tmp_path.iterdir()}
    for name in tmp_path.iterdir():
        runs[name.stem] += 1
    assert len(runs) == 50
    assert runs["45"] == 1
    again = [name for name, count in runs.items() if count > 1]
    assert len(again) < 35, "what was reported ran again"


def test_retries(make: MakePool, tmp_path: Path) -> None:
    pool = make()
    assert pool.apply(end_until, (str(tmp_path), 3), retries=2) == 3
    (tmp_path / "poison").mkdir()
    with pytest.raises(WorkerLostError) as caught:
        pool.apply(end_until, (str(tmp_path / "poison"), 4), retries=2)
    assert caught.value.attempt == 3
    assert [line.split(":")[0] for line in caught.value.history] == [
        "attempt 1",
        "attempt 2",
        "attempt 3",
    ]
    assert len(list((tmp_path / "poison").iterdir())) == 3
    found = pool.map(partial(end_at, -1), range(10), retries=1)
    assert found == list(range(10))


def test_retry_on(make: MakePool, tmp_path: Path) -> None:
    pool = make()
    directory = str(tmp_path)
    assert pool.apply(fail_until, (directory, 3), retries=2, retry_on=ConnectionError) == 3
    with pytest.raises(ConnectionError, match="run 4"):
        pool.apply(fail_until, (directory, 9), retries=5, retry_on=(KeyError,))
    with pytest.raises(ConnectionError, match="run 6"):
        pool.apply(fail_until, (directory, 9), retries=1, backoff=0.01, retry_on=(OSError,))
    assert pool.map(partial(fail_until, directory), [8], retries=3, retry_on=OSError) == [8]
    assert list(pool.imap(partial(fail_until, directory), [10], retries=3, retry_on=OSError)) == [
        10
    ]


def test_the_standard_library_s_hang(make: MakePool) -> None:
    """cpython#66587: kill a worker while a map runs."""
    pool = make()
    result = pool.map_async(nap, [0.05] * 20, chunksize=1)
    wait_for(lambda: pool._core.cancelling.holder is not None)
    victim = next(iter(pool._core.supervisor.workers.values())).pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    try:
        result.get(timeout=20)
    except WorkerLostError as error:
        assert error.pid == victim


def run_script(tmp_path: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(text))
    command = [sys.executable, script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


@pytest.mark.skipif(sys.platform == "win32", reason="workers print their traceback there")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize(
    "work",
    [
        "context.Pool(3).map(abs, [1])",
        "tines.ProcessPoolExecutor(3, mp_context=context).submit(abs, 1).result()",
    ],
)
def test_a_main_module_without_a_guard_is_told_once(tmp_path: Path, method: str, work: str) -> None:
    program = f"import sys, tines\ncontext = tines.get_context(sys.argv[1])\n{work}\n"
    done = run_script(tmp_path, program, method)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1 and "the pool gave up" in done.stderr
    assert done.stderr.count('if __name__ == "__main__":') == 1


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_main_module_may_catch_that_it_is_only_imported(tmp_path: Path, method: str) -> None:
    program = """
        import os, sys, tines

        try:
            pool = tines.get_context(sys.argv[1]).Pool(1)
        except tines.StartError:
            pool = None
        if pool is not None:
            print(pool.map(abs, [-1]), pool.apply(os.getenv, ("TINES_WORKER_STARTING",)))
            pool.close()
            pool.join()
    """
    done = run_script(tmp_path, program, method)
    assert (done.returncode, done.stdout) == (0, "[1] None\n"), done.stderr


@pytest.mark.parametrize("initializer", [broken_initializer, deadly_initializer])
def test_workers_that_cannot_start_break_the_pool_with_the_cause(
    make: MakePool, initializer: Callable[..., Any]
) -> None:
    pool = make(2, initializer, max_restarts=3)
    results = [pool.apply_async(square, (x,)) for x in range(5)]
    mapped = pool.map_async(square, range(1000))
    iterator = pool.imap(square, (x for x in range(1000)))
    for get in (*(result.get for result in results), mapped.get, iterator.next):
        with pytest.raises(PoolBrokenError) as caught:
            get()
        if initializer is broken_initializer:
            assert "no licence" in str(caught.value.__cause__)
            assert "no licence" in str(caught.value)
        else:
            assert "SIGKILL" in str(caught.value)
    with pytest.raises(PoolBrokenError):
        pool.apply(square, (1,))
    pool.close()
    pool.join()


def test_workers_killed_at_random_lose_nothing(make: MakePool) -> None:
    """The chaos run in small; ``benchmarks`` has the long one."""
    pool = make(3)
    stop = threading.Event()

    def kill_on() -> None:
        while not stop.wait(0.02):
            for running in list(pool._core.supervisor.workers.values())[:1]:
                if running.pid is not None:
                    try:
                        os.kill(running.pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass

    killer = threading.Thread(target=kill_on)
    killer.start()
    try:
        results = [pool.apply_async(nap, (0.002,)) for _ in range(200)]
        retried = [pool.apply_async(nap, (0.002,), retries=1000) for _ in range(200)]
        mapped = pool.map_async(nap, [0.001] * 500, retries=1000)
        got = lost = 0
        for result in results:
            try:
                assert result.get(timeout=50) == 0.002
                got += 1
            except WorkerLostError:
                lost += 1
        assert [result.get(timeout=50) for result in retried] == [0.002] * 200
        assert mapped.get(timeout=50) == [0.001] * 500
    finally:
        stop.set()
        killer.join()
    assert got + lost == 200
