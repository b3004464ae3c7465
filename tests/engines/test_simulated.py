"""Pools on nodes that are pretended: calls and their results, what kills mean, what cannot travel."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tines
import tines.aio
from engine_tasks import (
    begin,
    begun,
    change,
    die,
    fail_to_set_up,
    lock_back,
    looked_up,
    node,
    set_up,
    square,
    total,
)
from engine_tools import kill_a_program_with_nodes, lives
from support.descriptors import descriptors
from support.pools import ending
from support.waiting import wait_for
from tines.engines.remote import joining
from tines.errors import (
    EncodeError,
    NodeLostError,
    NodeMismatchError,
    PoolBrokenError,
    TaskCancelledError,
    TaskTimeoutError,
    WorkerLostError,
)
from tines.pool import Pool
from tines.process.lifecycle import launch

MakePool = Callable[..., Pool]


@pytest.fixture
def make() -> Iterator[MakePool]:
    """Make pools on two nodes; neither agents nor workers are left afterwards."""
    agents: list[int] = []
    with ending() as made:

        def make_pool(processes: int = 2, *arguments: Any, nodes: int = 2, **options: Any) -> Pool:
            pool = Pool(processes, *arguments, engine=f"simulated:{nodes}", **options)
            made.append(pool)
            for each in pool.nodes():
                agents.extend((each.pid, *each.workers))
            return pool

        yield make_pool
    wait_for(lambda: not [pid for pid in agents if lives(pid)])


def test_calls_go_to_all_nodes_and_their_results_come_back(make: MakePool) -> None:
    pool = make(4)
    nodes = pool.nodes()
    assert [each.state for each in nodes] == ["alive", "alive"]
    assert [len(each.workers) for each in nodes] == [2, 2]
    assert len({each.name for each in nodes}) == 2
    assert pool.apply(square, (3,)) == 9
    assert pool.map(square, range(100)) == [x * x for x in range(100)]
    assert list(pool.imap(square, range(100), 7)) == [x * x for x in range(100)]
    assert sorted(pool.imap_unordered(square, range(50))) == [x * x for x in range(50)]
    assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert pool.apply_async(lambda: "by value").get() == "by value"
    agents = {each.pid for each in nodes}
    found = pool.map(node, range(200), chunksize=1)
    assert set(found) <= agents
    with pytest.raises(ZeroDivisionError) as caught:
        pool.apply(divmod, (1, 0))
    assert "divmod(1, 0)" in "".join(getattr(caught.value, "__notes__", ["divmod(1, 0)"]))
    pool.close()
    pool.join()
    assert not [pid for pid in agents if lives(pid)]


def test_a_killed_worker_costs_its_own_task_and_nothing_else(make: MakePool) -> None:
    pool = make(2)
    lost = pool.apply_async(die)
    others = [pool.apply_async(square, (x,)) for x in range(50)]
    with pytest.raises(WorkerLostError) as caught:
        lost.get(30)
    assert caught.value.signal == "SIGKILL"
    assert not isinstance(caught.value, NodeLostError)
    assert "die()" in str(caught.value)
    assert [each.get(30) for each in others] == [x * x for x in range(50)]
    assert [each.state for each in pool.nodes()] == ["alive", "alive"]


def test_a_killed_agent_costs_what_had_begun_and_nothing_begins_twice(
    make: MakePool, tmp_path: Path
) -> None:
    pool = make(2)
    results = [pool.apply_async(begin, (str(tmp_path), number)) for number in range(6)]
    wait_for(lambda: len(begun(tmp_path)) == 2)
    number, worker, agent = begun(tmp_path)[0]
    os.kill(agent, signal.SIGKILL)
    with pytest.raises(NodeLostError) as caught:
        results[number].get(30)
    assert caught.value.node in {each.name for each in pool.nodes() if each.state == "lost"}
    assert f"{number})" in caught.value.task
    (tmp_path / "gate").touch()
    rest = [each for index, each in enumerate(results) if index != number]
    assert [each.get(30) for each in rest] == [each for each in range(6) if each != number]
    ran = [each[0] for each in begun(tmp_path)]
    assert sorted(ran) == list(range(6))  # each once
    wait_for(lambda: not lives(worker))
    wait_for(lambda: sum(len(each.workers) for each in pool.nodes()) == 2)
    assert pool.map(square, range(10)) == [x * x for x in range(10)]


def test_what_was_lost_with_a_node_is_tried_again_where_that_is_allowed(
    make: MakePool, tmp_path: Path
) -> None:
    pool = make(2)
    results = [pool.apply_async(begin, (str(tmp_path), n), retries=1) for n in range(2)]
    wait_for(lambda: len(begun(tmp_path)) == 2)
    os.kill(begun(tmp_path)[0][2], signal.SIGKILL)
    (tmp_path / "gate").touch()
    assert [each.get(30) for each in results] == [0, 1]
    assert len(begun(tmp_path)) in (2, 3)  # its result may have been on its way


def test_a_map_goes_on_without_a_node(make: MakePool, tmp_path: Path) -> None:
    pool = make(2)
    result = pool.map_async(partial(begin, str(tmp_path)), range(20), chunksize=1, retries=1)
    wait_for(lambda: len(begun(tmp_path)) == 2)
    os.kill(begun(tmp_path)[0][2], signal.SIGKILL)
    (tmp_path / "gate").touch()
    assert result.get(30) == list(range(20))


def test_a_pool_that_has_lost_all_its_nodes_says_so_at_once(make: MakePool, tmp_path: Path) -> None:
    pool = make(1, nodes=1)
    running = pool.apply_async(begin, (str(tmp_path), 0))
    queued = pool.apply_async(begin, (str(tmp_path), 1))
    wait_for(lambda: begun(tmp_path))
    os.kill(pool.nodes()[0].pid, signal.SIGKILL)
    with pytest.raises(NodeLostError):
        running.get(30)
    with pytest.raises(PoolBrokenError) as caught:
        queued.get(30)
    assert "no node is left" in str(caught.value.__cause__)


PROGRAM = """
import os, sys, time
import tines

if __name__ == "__main__":
    pool = tines.Pool(2, engine="simulated:2")
    pool.apply(os.getpid)
    busy = [pool.apply_async(time.sleep, (600,)) for _ in range(2)]
    pids = [pid for node in pool.nodes() for pid in (node.pid, *node.workers)]
    print(*pids, flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_of_the_nodes_of_a_program_that_is_killed(tmp_path: Path) -> None:
    kill_a_program_with_nodes(PROGRAM, tmp_path)


def test_running_and_queued_calls_are_cancelled_and_timed(make: MakePool, tmp_path: Path) -> None:
    pool = make(1, nodes=1)
    running = pool.apply_async(begin, (str(tmp_path), 0))
    queued = [pool.apply_async(begin, (str(tmp_path), number)) for number in (1, 2)]
    wait_for(lambda: begun(tmp_path))
    assert queued[1].cancel()
    assert running.cancel()
    for cancelled, started in ((queued[1], False), (running, True)):
        with pytest.raises(TaskCancelledError) as caught:
            cancelled.get(30)
        assert caught.value.started is started
    (tmp_path / "gate").touch()
    assert queued[0].get(30) == 1
    assert [number for number, _, _ in begun(tmp_path)] == [0, 1]
    with pytest.raises(TaskTimeoutError):
        pool.apply(time.sleep, (600,), timeout=0.05)
    assert pool.apply(square, (2,)) == 4


def test_workers_are_set_up_and_replaced(make: MakePool) -> None:
    pool = make(1, set_up, ("ready",), 2, nodes=1)
    assert [pool.apply(looked_up) for _ in range(5)] == ["ready"] * 5
    pids = [pool.apply(os.getpid) for _ in range(6)]
    assert len(set(pids)) >= 3
    assert pool.statistics().restarts == 0


def test_an_initializer_that_fails_breaks_the_pool(make: MakePool) -> None:
    pool = make(1, fail_to_set_up, nodes=1, max_restarts=1)
    with pytest.raises(PoolBrokenError, match="no license"):
        pool.apply(square, (1,))


def test_arrays_travel_whole_and_stay_apart(make: MakePool) -> None:
    pool = make(1, nodes=1)
    array = np.arange(1_000_000, dtype=np.float64)
    changed = pool.apply(change, (array, 7))
    assert changed[0] == 7
    assert array[0] == 0
    assert np.array_equal(changed[1:], array[1:])
    assert (
        pool.map(partial(np.dot, array[:100_000]), [array[:100_000]] * 3)
        == [float(np.dot(array[:100_000], array[:100_000]))] * 3
    )
    assert pool.map(total, [array, array]) == [float(array.sum())] * 2
    assert pool.apply(bytes, (b"x" * 3_000_000,)) == b"x" * 3_000_000


def test_a_large_argument_comes_again_while_much_waits(make: MakePool) -> None:
    """Nodes have no memory to refer to: each call brings its bytes."""
    array = np.ones(16 << 20, "u1")
    pool = make(1, nodes=1)
    results = [pool.apply_async(len, (array,)) for _ in range(9)]
    assert [result.get(60) for result in results] == [len(array)] * 9


def test_a_node_without_the_programs_directory_stays_where_it_is(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = launch.preparation

    def elsewhere(name: str) -> dict[str, object]:
        return {**prepare(name), "dir": "/only/on/the/other/machine"}

    monkeypatch.setattr(launch, "preparation", elsewhere)
    assert make(1, nodes=1).apply(os.getcwd) == os.getcwd()


def test_a_node_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    here = joining.versions()
    monkeypatch.setattr(joining, "versions", lambda: {**here, "Python": "2.7"})
    with pytest.raises(NodeMismatchError, match=r"has Python 3\.\d+, this program has Python 2\.7"):
        Pool(1, engine="simulated:1")


async def in_asyncio() -> list[int]:
    async with tines.aio.Pool(1, engine="simulated:1") as pool:
        return [await pool.apply(node), await pool.apply(os.getpid)]


def test_all_front_ends_take_an_engine() -> None:
    with tines.ProcessPoolExecutor(1, engine="simulated:1") as executor:
        found = [executor.submit(node).result(30), executor.submit(os.getpid).result(30)]
    with tines.get_context("spawn").Pool(1, engine="simulated:1") as pool:
        found += [pool.apply(node), pool.apply(os.getpid)]
    found += asyncio.run(in_asyncio())
    assert len({os.getpid(), *found}) == 7  # an agent and a worker for each, none of them here
    for wrong, error in (("nowhere", ValueError), (3, TypeError)):
        with pytest.raises(error, match="engine="):
            tines.ProcessPoolExecutor(1, engine=wrong)


def _memory() -> shared_memory.SharedMemory:
    return shared_memory.SharedMemory(create=True, size=16)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (tines.Lock, "Lock"),
        (tines.Event, "Event"),
        (tines.Queue, "Queue"),
        (partial(tines.Value, "i", 0), "Value|Synchronized"),
        (partial(tines.Array, "i", 3), "Array"),
        (_memory, "SharedMemory"),
        (lambda: tines.Pipe()[0], "Connection"),
    ],
)
def test_what_belongs_to_one_machine_is_refused_by_name(
    nodes_pool: Pool, made: Callable[[], Any], named: str
) -> None:
    thing = made()
    try:
        with pytest.raises(EncodeError, match=named):
            nodes_pool.apply(square, (thing,))
        with pytest.raises(EncodeError, match=named):
            nodes_pool.map(square, [1, thing], chunksize=1)
        assert nodes_pool.apply(square, (5,)) == 25
    finally:
        if isinstance(thing, shared_memory.SharedMemory):
            thing.close()
            thing.unlink()


def test_a_result_that_belongs_to_one_machine_is_refused(nodes_pool: Pool) -> None:
    with pytest.raises(EncodeError, match="a Queue cannot be sent to another node"):
        nodes_pool.apply(lock_back)
    assert nodes_pool.apply(square, (5,)) == 25


@pytest.fixture(scope="module")
def nodes_pool() -> Iterator[Pool]:
    with Pool(2, engine="simulated:2") as pool:
        yield pool


def test_a_pool_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    lock = tines.Lock()
    with Pool(1, engine="simulated:1"):
        pass  # what all pools share is there
    before = descriptors()
    for arguments in ((square, (lock,)), (square, (b"x" * 100_000, lock))):
        with pytest.raises(EncodeError):
            Pool(1, *arguments, engine="simulated:1")
    gc.collect()
    wait_for(lambda: len(descriptors()) <= len(before))


UNGUARDED = """
import tines
pool = tines.Pool(1, engine="simulated:1")
"""


def test_a_main_module_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr


@pytest.mark.parametrize("name", ["spark", "simulated:0", "simulated:x", "simulated:1000", ""])
def test_what_is_no_engine_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="engine="):
        Pool(1, engine=name)


def test_where_there_can_be_no_nodes_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", object)  # which has no sendmsg
    with pytest.raises(NotImplementedError, match="engine='simulated:2'"):
        Pool(1, engine="simulated:2")


def test_the_package_imports_none_of_it() -> None:
    program = (
        "import sys, tines; p = tines.Pool(1); p.apply(len, ('',)); p.terminate();"
        "print([m for m in sys.modules if m.startswith(('tines.agent', 'tines.engines.remote', "
        "'tines.engines.simulated', 'tines.engines.dask', 'distributed'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
