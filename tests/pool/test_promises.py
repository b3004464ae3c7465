"""What holds under every start method and over both transports, whatever happens to workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import (
    broken_initializer,
    deadly_initializer,
    deadly_result,
    end,
    fail,
    nap,
    nested,
    pid,
    raise_picky,
    square,
    stubborn,
    unloadable,
    unpicklable,
)
from pool_tools import MakePool
from support.waiting import PATIENCE, wait_for
from tines.engines import local
from tines.errors import PoolBrokenError, TaskCancelledError, TaskTimeoutError, WorkerLostError

SOURCE = Path(__file__).parent.parent.parent / "src"


@pytest.mark.parametrize("way", ["SIGKILL", "SIGTERM", "exit", "segfault"])
def test_a_death_costs_one_task(make: MakePool, method: str, way: str) -> None:
    pool = make(2, method=method)
    others = pool.map_async(square, range(20), chunksize=1)
    with pytest.raises(WorkerLostError) as caught:
        pool.apply(end, (way,))
    assert f"end('{way}')" in caught.value.task
    assert str(caught.value.pid) in str(caught.value)
    if way == "segfault":
        assert caught.value.signal == "SIGSEGV"
        assert "in end" in (caught.value.dump or "")
    elif way == "exit":
        assert caught.value.exitcode == 7
    else:
        assert caught.value.signal == way
        assert way in str(caught.value)
    assert others.get() == [x * x for x in range(20)]


def test_a_death_while_the_result_is_made_ready_to_send(make: MakePool, method: str) -> None:
    pool = make(1, method=method)
    with pytest.raises(WorkerLostError, match="SIGKILL"):
        pool.apply(deadly_result)
    assert pool.apply(square, (3,)) == 9


def test_a_death_between_tasks_costs_none(make: MakePool, method: str) -> None:
    pool = make(1, method=method)
    victim = pool.apply(pid)
    # The result is here before the lease is let go of, and until then the task is not over.
    wait_for(lambda: pool._core.tasks.lease(0) is None)
    os.kill(victim, signal.SIGKILL)
    assert pool.apply(pid) != victim
    assert pool.statistics().lost == 0


@pytest.mark.parametrize("initializer", [broken_initializer, deadly_initializer])
def test_an_initializer_that_always_fails(make: MakePool, method: str, initializer: Any) -> None:
    pool = make(1, initializer, max_restarts=1, method=method)
    with pytest.raises(PoolBrokenError):
        pool.apply(square, (1,))


def test_the_end_by_the_kernel_for_memory_is_said(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter([0, 1, 1, 1, 1])
    monkeypatch.setattr(local, "_out_of_memory_kills", lambda: next(kills))
    pool = make(1)
    with pytest.raises(WorkerLostError) as caught:
        pool.apply(end, ("SIGKILL",))
    assert caught.value.out_of_memory
    assert "because memory had run out" in str(caught.value)
    with pytest.raises(WorkerLostError) as caught:
        pool.apply(end, ("SIGKILL",))
    assert not caught.value.out_of_memory


def test_idle_workers_do_not_mind_an_interrupt(make: MakePool, method: str) -> None:
    pool = make(1, method=method)
    worker = pool.apply(pid)
    wait_for(lambda: pool._core.tasks.lease(0) is None)
    for _ in range(5):
        os.kill(worker, signal.SIGINT)
        assert pool.apply(pid) == worker


def test_timeouts_and_cancelling(make: MakePool, method: str) -> None:
    pool = make(1, method=method)
    worker = pool.apply(pid)
    with pytest.raises(TaskTimeoutError):
        pool.apply(nap, (60,), timeout=0.1, grace=PATIENCE)
    assert pool.apply(pid) == worker, "the task obeyed the exception"
    with pytest.raises(TaskTimeoutError):
        pool.apply(stubborn, (60,), timeout=0.1, grace=0.1)
    assert pool.apply(pid) != worker, "the task did not, and its worker was killed"
    result = pool.apply_async(nap, (60,))
    wait_for(result.running)
    assert result.cancel()
    with pytest.raises(TaskCancelledError):
        result.get()
    assert pool.apply(square, (3,)) == 9


def test_what_cannot_travel_costs_its_own_task(make: MakePool, method: str) -> None:
    pool = make(1, method=method)
    with pytest.raises(KeyError) as caught:
        pool.apply(fail)
    assert "pool_tasks.py" in str(caught.value.__cause__)
    with pytest.raises(Exception, match="1 and 2"):
        pool.apply(raise_picky)
    with pytest.raises(Exception, match="lock"):
        pool.apply(unpicklable)
    with pytest.raises(Exception, match="refused"):
        pool.apply(unloadable)
    assert pool.apply(square, (3,)) == 9


def test_nested_pools(make: MakePool, method: str) -> None:
    pool = make(2, method=method)
    assert pool.map(nested, [3, 4]) == [[0, 1, 4], [0, 1, 4, 9]]


def test_two_pools_and_several_threads(make: MakePool, method: str) -> None:
    pools = [make(1, method=method), make(2, method=method)]
    found: list[Any] = []

    def use(pool: Any) -> None:
        for x in range(20):
            found.append(pool.apply(square, (x,)) == x * x)
        found.append(pool.map(square, range(9)) == [x * x for x in range(9)])

    threads = [threading.Thread(target=use, args=(pool,)) for pool in pools * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert found == [True] * 4 * 21


def test_resize(make: MakePool, method: str) -> None:
    pool = make(1, method=method)
    for size in (3, 1, 2):
        pool.resize(size)
        wait_for(lambda size=size: len(pool.statistics().workers) == size)
        assert pool.map(square, range(9), chunksize=1) == [x * x for x in range(9)]


def test_functions_of_an_interactive_session(transport: Any, method: str) -> None:
    program = f"""
import os
import tines as mp
from tines.transport import named

def double(x):
    return helper(x)

def helper(x):
    return 2 * x

with mp.get_context({method!r}).Pool(1, transport=named({transport.name!r})) as pool:
    print(pool.map(double, range(3)))
    factor = 7
    print(pool.apply(lambda x: x * factor, (6,)))
"""
    done = subprocess.run(
        [sys.executable, "-"],
        input=program,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout.split() == ["[0,", "2,", "4]", "42"], done.stderr
