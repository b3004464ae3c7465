"""What a pool says of its calls to whoever looks: what failed last, how far maps are, on which nodes."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from failing_tasks import Loud, raise_loud
from pool_tasks import fail, fail_at, hold, nap, raise_picky
from pool_tools import MakePool
from support.waiting import wait_for
from tines import WorkerLostError
from tines.pool import Pool
from tines.wire.tracebacks import RemoteError


def test_the_last_failures(make: MakePool) -> None:
    pool = make(1)
    for _ in range(9):
        with pytest.raises(KeyError):
            pool.apply(fail)
    with pytest.raises(RemoteError):
        pool.apply(raise_picky)
    with pytest.raises(ValueError):
        pool.starmap(fail_at, [(2, 0), (2, 1), (2, 2), (2, 3)], chunksize=4)
    killed = pool.apply_async(nap, (60,))
    wait_for(lambda: pool.statistics().running)
    pid = pool.statistics().workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerLostError):
        killed.get()
    pool.apply_async(nap, (60,)).cancel()
    failures = pool.statistics().failures
    assert len(failures) == 8, "what was cancelled did not fail"
    lost, of_map, picky, *others = failures
    assert lost.error.startswith(f"WorkerLostError: worker {pid} ") and lost.traceback == ()
    assert "pool_tasks.nap(60)" in lost.task
    assert of_map.error == "ValueError: no 2" and of_map.task == "pool_tasks.fail_at(2, 2)"
    assert (of_map.item, of_map.pid) == (2, pid)
    assert of_map.traceback[0].startswith("Traceback") and "in fail_at" in "".join(of_map.traceback)
    assert "Picky" in picky.error and picky.item is None
    assert [each.error.partition(":")[0] for each in others] == ["KeyError"] * 5
    assert time.time() - 300 < others[-1].at <= others[0].at <= lost.at <= time.time()
    assert pool.statistics().failures == failures


def test_no_code_of_the_program_s_runs_because_somebody_looks(make: MakePool) -> None:
    pool = make(1)
    with pytest.raises(Loud):
        pool.apply(raise_loud)
    Loud.unpickled = 0
    (failure,) = pool.statistics().failures
    assert (failure.error, Loud.unpickled) == ("failing_tasks.Loud: it", 0)


def test_how_far_maps_are(make: MakePool, tmp_path: Path) -> None:
    pool = make(2)
    gate = tmp_path / "gate"
    assert pool.statistics().maps == ()
    # The folder is there already: only the last one waits.
    results = pool.map_async(hold, [str(tmp_path)] * 3 + [str(gate)], chunksize=1)
    wait_for(lambda: any(each.done == 3 for each in pool.statistics().maps))
    (underway,) = pool.statistics().maps
    assert underway.function == "pool_tasks.hold"
    assert (underway.done, underway.failed, underway.retried, underway.total) == (3, 0, 0, 4)
    second = pool.imap_unordered(hold, iter([str(gate)]))
    wait_for(lambda: len(pool.statistics().maps) == 2)
    assert underway.number == pool.statistics().maps[0].number < pool.statistics().maps[1].number
    gate.touch()
    results.get()
    list(second)
    wait_for(lambda: pool.statistics().maps == ())


@pytest.mark.skipif(not hasattr(socket.socket, "sendmsg"), reason="there are no simulated nodes")
def test_workers_say_on_which_node_they_are() -> None:
    with Pool(2, engine="simulated:2") as pool:
        names = {node.name for node in pool.nodes()}
        assert len(names) == 2
        assert {worker.node for worker in pool.statistics().workers} == names
    with Pool(1) as pool:
        assert [worker.node for worker in pool.statistics().workers] == [None]
