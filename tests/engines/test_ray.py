"""Pools on the nodes of a Ray cluster: where they are, what kills mean, what is left."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine_tasks import begin, begun, die, square
from engine_tools import kill_a_program_with_nodes, lives
from support.pools import ending
from support.waiting import PATIENCE, wait_for
from tines.engines import ray as engine_module
from tines.engines.remote import joining
from tines.errors import (
    NodeLostError,
    NodeMismatchError,
    PoolBrokenError,
    StartError,
    WorkerLostError,
)
from tines.pool import Pool

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)

MakePool = Callable[..., Pool]

START = "from ray.scripts.scripts import main; main()"


class Part:
    """A head, or another node of its cluster: what ``ray start`` starts."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-c", START, "start", "--block", "--num-cpus=4", *arguments]
        self.process = subprocess.Popen(
            [*command, "--object-store-memory=80000000", "--disable-usage-stats"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def inside(self) -> list[psutil.Process]:
        """All processes that belong to it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def fail(self) -> None:
        """Kill what is Ray's own; what it has started has to see that by itself."""
        for each in self.inside():
            if each.name() in ("gcs_server", "raylet"):
                each.kill()

    def end(self) -> None:
        """See that nothing is left of it."""
        inside = self.inside()
        self.process.kill()
        for each in inside:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()


class Cluster:
    """A head, which is there until it fails."""

    def __init__(self) -> None:
        # Not the test's own folder: there are sockets in it, whose paths have to be short.
        self._folder = Path(tempfile.mkdtemp(prefix="ray"))
        self.head = Part(
            "--head", "--port=0", f"--temp-dir={self._folder}", "--include-dashboard=false"
        )
        self._file = self._folder / "ray_current_cluster"
        try:
            wait_for(self._file.exists, 4 * PATIENCE)
        except BaseException:
            self.end()
            raise
        self.address = self._file.read_text().strip()

    def end(self) -> None:
        self.head.end()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="module")
def clusters() -> Iterator[list[Cluster]]:
    """The cluster that is there, if one is: it takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        there: list[Cluster] = []
        yield there
        for each in there:
            each.end()


@pytest.fixture
def cluster(clusters: list[Cluster], monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One that the program finds."""
    if not clusters:
        clusters.append(Cluster())
    monkeypatch.setenv("RAY_ADDRESS", clusters[0].address)
    return clusters[0]


@pytest.fixture
def make(cluster: Cluster) -> Iterator[MakePool]:
    """Make pools; neither agents nor workers are left afterwards."""
    there: list[int] = []
    with ending() as made:

        def make_pool(processes: int = 2, engine: str = "ray") -> Pool:
            pool = Pool(processes, engine=engine)
            made.append(pool)
            there.extend(pids(pool))
            return pool

        yield make_pool
    wait_for(lambda: not [pid for pid in there if lives(pid)])


def pids(pool: Pool) -> list[int]:
    return [pid for each in pool.nodes() for pid in (each.pid, *each.workers)]


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "ray:1"])
def test_a_node_of_the_cluster_is_a_node_until_the_pool_ends(make: MakePool, engine: str) -> None:
    pool = make(2, engine)
    (node,) = pool.nodes()
    assert node.name.startswith("ray-")
    assert pool.map(square, range(100), chunksize=1) == [x * x for x in range(100)]
    assert pool.apply(os.getppid) == node.pid
    there = pids(pool)
    pool.close()
    pool.join()
    assert not [pid for pid in there if lives(pid)]
    assert "ray" not in sys.modules


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_costs_its_own_task_and_a_killed_agent_its_node(
    make: MakePool, tmp_path: Path
) -> None:
    pool = make(1)
    finished = pool.apply_async(square, (3,))
    finished.wait(PATIENCE)
    with pytest.raises(WorkerLostError) as lost:
        pool.apply(die)
    assert not isinstance(lost.value, NodeLostError)
    running = pool.apply_async(begin, (str(tmp_path), 0))
    queued = pool.apply_async(square, (4,))
    wait_for(lambda: begun(tmp_path))
    ((_, worker, agent),) = begun(tmp_path)
    os.kill(agent, signal.SIGKILL)
    with pytest.raises(NodeLostError):
        running.get(PATIENCE)
    with pytest.raises(PoolBrokenError) as caught:
        queued.get(PATIENCE)
    assert "no node is left" in str(caught.value.__cause__)
    assert finished.get() == 9
    wait_for(lambda: not lives(worker))


@needs_ray
@pytest.mark.slow
def test_a_pool_whose_sidecar_is_gone_still_says_what_came_and_breaks(make: MakePool) -> None:
    """Ray ends the actors of a client that has ended, and the nodes go with them."""
    pool = make(1)
    finished = pool.apply_async(square, (3,))
    finished.wait(PATIENCE)
    (sidecar,) = (
        each
        for each in psutil.Process().children()
        if any("ray_sidecar" in word for word in each.cmdline())
    )
    queued = [pool.apply_async(time.sleep, (600,)) for _ in range(2)]
    sidecar.kill()
    for each in queued:
        with pytest.raises((NodeLostError, PoolBrokenError)):
            each.get(75)
    assert finished.get() == 9


PROGRAM = """
import time
import tines

if __name__ == "__main__":
    pool = tines.Pool(3, engine="ray")
    busy = [pool.apply_async(time.sleep, (600,)) for _ in range(3)]
    print(*[pid for node in pool.nodes() for pid in (node.pid, *node.workers)], flush=True)
    time.sleep(600)
"""


@needs_ray
@pytest.mark.slow
def test_nothing_is_left_on_ray_of_a_program_that_is_killed(
    cluster: Cluster, tmp_path: Path
) -> None:
    kill_a_program_with_nodes(PROGRAM, tmp_path)


@needs_ray
@pytest.mark.slow
def test_a_node_with_another_version_is_refused(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "versions", lambda: {"Python": "2.7"})
    with pytest.raises(NodeMismatchError, match=r"node ray-.*this program has Python 2\.7"):
        make()


@needs_ray
@pytest.mark.slow
def test_a_pool_whose_head_is_gone_breaks_and_the_program_lives(
    make: MakePool, clusters: list[Cluster]
) -> None:
    pool = make(1)
    finished = pool.apply_async(square, (3,))
    finished.wait(PATIENCE)
    unfinished = [pool.apply_async(time.sleep, (600,)) for _ in range(2)]
    (failing,) = clusters
    clusters.clear()
    try:
        failing.head.fail()
        for each in unfinished:
            with pytest.raises((NodeLostError, PoolBrokenError)):
                each.get(75)
        assert finished.get() == 9
    finally:
        failing.end()


@needs_ray
@pytest.mark.parametrize("name", ["ray:0", "ray:x", "ray:1000", "ray://host", "ray://:1", "ray://"])
def test_what_is_no_cluster_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"engine='{name}'"):
        Pool(1, engine=name)


@needs_ray
def test_what_ray_encrypts_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with pytest.raises(NotImplementedError, match="not encrypted"):
        Pool(1, engine="ray")


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(engine_module, "END_SECONDS", 1.0)
    with pytest.raises(StartError, match=r"engine='ray://127\.0\.0\.1:1'"):
        Pool(1, engine="ray://127.0.0.1:1")
    assert not [
        each for each in psutil.Process().children() if "ray_sidecar" in str(each.cmdline())
    ]
