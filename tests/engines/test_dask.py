"""Pools on the workers of a Dask cluster: where they are, what kills mean, what is left."""

from __future__ import annotations

import contextlib
import copyreg
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine_tasks import agents_on, begin, begun, die, node, square
from engine_tools import kill_a_program_with_nodes, lives
from support.pools import ending
from support.waiting import wait_for
from tines.engines import dask as engine_module
from tines.errors import NodeLostError, PoolBrokenError, StartError, WorkerLostError
from tines.pool import Pool

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="Dask is not installed"
)

Part = subprocess.Popen[str]
MakePool = Callable[..., Pool]


class Parts:
    """A scheduler and workers, each a process."""

    def __init__(self, ends: contextlib.ExitStack) -> None:
        self._ends = ends
        self.scheduler = self._start()
        self.address = self.said(self.scheduler)

    def workers(self, *names: str) -> list[Part]:
        """Start workers; they are there."""
        started = [self._start(self.address, name) for name in names]
        for worker in started:
            self.said(worker)
        return started

    def _start(self, *arguments: str) -> Part:
        program = str(Path(__file__).with_name("dask_part.py"))
        part = subprocess.Popen(
            [sys.executable, program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._ends.callback(self.end, part)
        return part

    @staticmethod
    def said(part: Part) -> str:
        assert part.stdout is not None
        line = part.stdout.readline().strip()
        assert line, "it has ended"
        return line

    @staticmethod
    def end(part: Part) -> None:
        part.kill()
        part.communicate()


@pytest.fixture(scope="module")
def distributed() -> Iterator[Any]:
    """The library, for these tests only: it changes how exceptions are pickled in this process."""
    before = copyreg.dispatch_table.copy()
    yield pytest.importorskip("distributed")
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


@pytest.fixture(scope="module", autouse=True)
def scratch(distributed: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Dask leaves a folder wherever it was."""
    folder = str(tmp_path_factory.mktemp("dask"))
    dask: Any = pytest.importorskip("dask")
    with pytest.MonkeyPatch.context() as patch, dask.config.set(temporary_directory=folder):
        patch.setenv("DASK_TEMPORARY_DIRECTORY", folder)
        yield


@pytest.fixture(scope="module")
def parts(scratch: None) -> Iterator[Parts]:
    """A scheduler with the workers ``left`` and ``right``, which stay."""
    with contextlib.ExitStack() as ends:
        made = Parts(ends)
        made.workers("left", "right")
        yield made


@pytest.fixture
def make() -> Iterator[MakePool]:
    """Make pools; neither agents nor workers are left afterwards."""
    there: list[int] = []
    with ending() as made:

        def make_pool(engine: Any, processes: int = 2, **options: Any) -> Pool:
            pool = Pool(processes, engine=engine, **options)
            made.append(pool)
            there.extend(pids(pool))
            return pool

        yield make_pool
    wait_for(lambda: not [pid for pid in there if lives(pid)])


def pids(pool: Pool) -> list[int]:
    return [pid for each in pool.nodes() for pid in (each.pid, *each.workers)]


def names(pool: Pool) -> list[str]:
    return sorted(each.name for each in pool.nodes())


def test_each_worker_of_a_scheduler_is_a_node_until_the_pool_ends(
    parts: Parts, make: MakePool
) -> None:
    pool = make(parts.address, 4)
    assert names(pool) == ["left", "right"]
    assert [len(each.workers) for each in pool.nodes()] == [2, 2]
    assert pool.map(square, range(100), chunksize=1) == [x * x for x in range(100)]
    assert pool.apply(node) in {each.pid for each in pool.nodes()}
    there = pids(pool)
    pool.close()
    pool.join()
    assert not [pid for pid in there if lives(pid)]


def test_a_client_that_is_given_stays_its_owners(
    parts: Parts, make: MakePool, distributed: Any
) -> None:
    with distributed.Client(parts.address) as client:
        for given in (client, "dask"):  # the current client is that one
            pool = make(given)
            assert names(pool) == ["left", "right"]
            pool.terminate()
        assert client.status == "running"
        assert set(client.run(agents_on).values()) == {0}


def test_dask_on_this_machine_needs_nothing_to_be_there(make: MakePool) -> None:
    pool = make("dask:2")
    assert names(pool) == ["dask-0", "dask-1"]
    assert pool.map(square, range(10)) == [x * x for x in range(10)]


def test_a_killed_worker_costs_its_own_task_and_a_killed_agent_what_had_begun(
    parts: Parts, make: MakePool, tmp_path: Path
) -> None:
    pool = make(parts.address)
    with pytest.raises(WorkerLostError) as lost:
        pool.apply(die)
    assert not isinstance(lost.value, NodeLostError)
    assert [each.state for each in pool.nodes()] == ["alive", "alive"]
    results = [pool.apply_async(begin, (str(tmp_path), number)) for number in range(6)]
    wait_for(lambda: len(begun(tmp_path)) == 2)
    number, worker, agent = begun(tmp_path)[0]
    os.kill(agent, signal.SIGKILL)
    with pytest.raises(NodeLostError) as caught:
        results[number].get(30)
    assert caught.value.node in ("left", "right")
    (tmp_path / "gate").touch()
    rest = [each for each in results if each is not results[number]]
    assert [each.get(30) for each in rest] == [each for each in range(6) if each != number]
    assert sorted(each[0] for each in begun(tmp_path)) == list(range(6))  # each once
    wait_for(lambda: not lives(worker))


def test_with_a_worker_of_dask_that_is_killed_its_node_goes(
    parts: Parts, make: MakePool, tmp_path: Path
) -> None:
    (victim,) = parts.workers("victim")
    pool = make(parts.address, 3)
    results = [pool.apply_async(begin, (str(tmp_path), n), retries=1) for n in range(3)]
    wait_for(lambda: len(begun(tmp_path)) == 3)
    (lost,) = (each for each in pool.nodes() if each.name == "victim")
    victim.kill()
    wait_for(lambda: not [pid for pid in (lost.pid, *lost.workers) if lives(pid)])
    (tmp_path / "gate").touch()
    assert [each.get(30) for each in results] == [0, 1, 2]
    states = {each.name: each.state for each in pool.nodes()}
    assert states == {"left": "alive", "right": "alive", "victim": "lost"}


def test_with_a_worker_of_dask_that_is_closed_its_node_goes(
    make: MakePool, distributed: Any
) -> None:
    """Its process may live on: here it is this one."""
    with (
        distributed.LocalCluster(
            n_workers=2, processes=False, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        pool = make(cluster)
        client.retire_workers(names=[0])
        wait_for(lambda: "lost" in [each.state for each in pool.nodes()])
        assert {each.name: each.state for each in pool.nodes()} == {
            "dask-0": "lost",
            "dask-1": "alive",
        }
        assert pool.map(square, range(10)) == [x * x for x in range(10)]
        pool.terminate()


def test_a_pool_whose_scheduler_is_gone_breaks_and_the_program_lives(
    make: MakePool, tmp_path: Path
) -> None:
    """Dask's workers end without their scheduler, and the nodes with them."""
    with contextlib.ExitStack() as ends:
        parts = Parts(ends)
        parts.workers("only")
        pool = make(parts.address, 1)
        finished = pool.apply_async(square, (3,))
        finished.wait(30)
        running = pool.apply_async(begin, (str(tmp_path), 0))
        queued = pool.apply_async(square, (4,))
        wait_for(lambda: begun(tmp_path))
        parts.scheduler.kill()
        with pytest.raises(NodeLostError):
            running.get(30)
        with pytest.raises(PoolBrokenError) as caught:
            queued.get(30)
        assert "no node is left" in str(caught.value.__cause__)
        assert finished.get() == 9


PROGRAM = """
import os, sys, time
import tines

if __name__ == "__main__":
    pool = tines.Pool(2, engine=sys.argv[1])
    busy = [pool.apply_async(time.sleep, (600,)) for _ in range(2)]
    print(*[pid for node in pool.nodes() for pid in (node.pid, *node.workers)], flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_on_dask_of_a_program_that_is_killed(
    parts: Parts, tmp_path: Path, distributed: Any
) -> None:
    kill_a_program_with_nodes(PROGRAM, tmp_path, parts.address)
    with distributed.Client(parts.address, set_as_default=False) as client:
        wait_for(lambda: set(client.run(agents_on).values()) == {0})


@pytest.mark.parametrize("name", ["dask:0", "dask:x", "dask:1000", "tcp:host:8786", "tcp://host"])
def test_what_is_no_cluster_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"engine='{name}'"):
        Pool(1, engine=name)


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "CONNECT_SECONDS", 0.3)
    with pytest.raises(StartError, match=r"engine='tcp://127\.0\.0\.1:1'"):
        Pool(1, engine="tcp://127.0.0.1:1")


def test_a_cluster_without_workers_is_named(
    monkeypatch: pytest.MonkeyPatch, distributed: Any
) -> None:
    monkeypatch.setattr(engine_module, "WORKERS_SECONDS", 0.3)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        pytest.raises(StartError, match="has no worker"),
    ):
        Pool(1, engine=cluster)


def test_a_client_that_cannot_be_used_is_refused(parts: Parts, distributed: Any) -> None:
    client = distributed.Client(parts.address, set_as_default=False)
    client.close()
    with pytest.raises(ValueError, match="is closed"):
        Pool(1, engine=client)
    client._asynchronous = True
    with pytest.raises(TypeError, match="is asynchronous"):
        Pool(1, engine=client)


def test_what_dask_encrypts_is_not_sent_in_the_clear() -> None:
    with pytest.raises(NotImplementedError, match="not encrypted"):
        Pool(1, engine="tls://127.0.0.1:8786")
