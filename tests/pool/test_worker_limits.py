"""Limits on workers: memory, inner threads, devices, niceness, cores."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import (
    blas_threads,
    copy_and_stay,
    grow,
    nap,
    own_variables,
    pid,
    square,
    variable,
)
from pool_tools import MakePool, outcomes
from support.waiting import wait_for
from tines.engines import resources
from tines.errors import PoolBrokenError, WorkerLostError
from tines.pool.options import PoolOptions
from tines.pool.worker import environment

ROOM = 300_000_000
THREADS = environment.THREAD_VARIABLES


@pytest.fixture
def hard() -> int:
    """A limit that leaves a worker ``ROOM``, whatever this process has, and a forked worker with it."""
    return resources.own_memory() + ROOM


def test_max_memory_replaces_a_worker_after_its_task(make: MakePool) -> None:
    pool = make(1, max_memory=1)
    pids = pool.map(pid, range(4), chunksize=1)
    assert len(set(pids)) == 4
    assert pool.statistics().lost == 0


def test_a_task_over_the_hard_limit_is_killed_and_says_so(
    make: MakePool, hard: int, method: str
) -> None:
    pool = make(2, method=method, max_memory_hard=hard)
    others = pool.map_async(square, range(50), chunksize=1)
    much = hard >> 19  # twice the limit: a spawned worker has nothing of what this process has
    with pytest.raises(WorkerLostError) as caught:
        pool.apply(grow, (much, 60.0))
    error = caught.value
    assert error.signal == "SIGKILL"
    assert f"max_memory_hard={hard}" in str(error)
    assert f"grow({much}, 60.0)" in str(error)
    assert "max_memory_hard" in error.history[0]
    assert others.get() == [x * x for x in range(50)]
    assert pool.apply(grow, (10, 0.0)) == 10 << 20


@pytest.mark.parametrize("unordered", [False, True])
def test_the_hard_limit_costs_one_item_of_a_map(make: MakePool, hard: int, unordered: bool) -> None:
    pool = make(2, max_memory_hard=hard)
    imap = pool.imap_unordered if unordered else pool.imap
    sizes = [1, 2, 600, 3, 4]
    found = outcomes(imap(_grow_and_stay, sizes))
    lost = [each for each in found if isinstance(each, WorkerLostError)]
    assert len(lost) == 1
    assert "max_memory_hard" in str(lost[0])
    assert sorted(each for each in found if isinstance(each, int)) == [1, 2, 3, 4]


def _grow_and_stay(megabytes: int) -> int:
    grow(megabytes, 60.0 if megabytes << 20 > ROOM else 0.0)
    return megabytes


def test_retries_count_what_was_killed_for_memory(make: MakePool, hard: int) -> None:
    pool = make(1, max_memory_hard=hard)
    with pytest.raises(WorkerLostError) as caught:
        pool.apply(grow, (600, 60.0), retries=1)
    assert caught.value.attempt == 2
    assert len(caught.value.history) == 2


def test_a_worker_that_keeps_too_much_leaves_before_the_next_task(make: MakePool) -> None:
    """The memory of one task must not be the end of the next."""
    pool = make(1, max_memory_hard=10**12)
    assert pool.apply(pid) == pool.apply(pid)
    options = PoolOptions(processes=1, max_memory_hard=1000)
    assert options.memory_to_leave == 1000
    assert PoolOptions(processes=1, max_memory=10, max_memory_hard=1000).memory_to_leave == 10


def test_shared_memory_is_not_the_worker_s_own(make: MakePool, hard: int) -> None:
    numpy = pytest.importorskip("numpy")
    pool = make(1, max_memory_hard=hard)
    if pool._core.transport.name == "pipe":
        pytest.skip("what a worker receives by pipe is its own")
    worker = pool.apply(pid)
    for _ in range(3):
        assert pool.apply(len, (numpy.ones(50 << 20),)) == 50 << 20
    assert pool.apply(pid) == worker


def test_memory_is_looked_at_only_while_something_runs(
    make: MakePool, hard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def count(process: int) -> int:
        looks.append(process)
        return 0

    monkeypatch.setattr("tines.engines.local.own_memory", count)
    pool = make(2, max_memory_hard=hard)
    meter = pool._core.meter
    assert meter is not None
    for _ in range(3):
        result = pool.apply_async(nap, (0.3,))
        wait_for(lambda: looks)
        assert result.get() == 0.3
        wait_for(lambda: not meter._looking)
        assert pool._core.supervisor._until is None or not pool._core.state.pending
        looks.clear()


def test_what_cannot_be_measured_cannot_be_limited(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_LINUX", False)
    monkeypatch.setattr(resources, "_psutil", lambda: None)
    with pytest.raises(NotImplementedError, match="psutil"):
        make(1, max_memory=10**9)


def test_psutil_measures_where_proc_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    by_proc = resources.own_memory(os.getpid()), resources.cpu_seconds(os.getpid())
    monkeypatch.setattr(resources, "_LINUX", False)
    assert resources.can_measure()
    by_psutil = resources.own_memory(os.getpid()), resources.cpu_seconds(os.getpid())
    if sys.platform == "linux":
        assert 0 < by_proc[0] <= by_psutil[0]
        assert by_proc[1] == pytest.approx(by_psutil[1], abs=0.1)
    assert by_psutil[0] > 1 << 20
    assert resources.own_memory(2**22 + 1) == 0
    assert resources.cpu_seconds(2**22 + 1) == 0.0


def test_inner_threads_reach_the_environment(
    make: MakePool, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "warn_of_loaded_libraries", lambda *_: None)
    pool = make(2, method=method, inner_threads=3)
    assert pool.apply(own_variables, THREADS)[1] == ["3"] * len(THREADS)
    assert all(name not in os.environ for name in THREADS)
    assert make(1, method=method).apply(own_variables, THREADS)[1] == [None] * len(THREADS)


def test_inner_threads_auto_shares_the_cores_and_respects_the_user(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tines.pool.options.available_cpus", lambda: 8)
    assert environment.for_slot(PoolOptions(processes=3, inner_threads="auto"), 0) == (
        dict.fromkeys(THREADS, "2")
    )
    assert PoolOptions(processes=100, inner_threads="auto").threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environment.for_slot(PoolOptions(processes=3, inner_threads="auto"), 0) == {}
    assert make(1, inner_threads="auto").apply(variable, ("OMP_NUM_THREADS",)) == "5"
    explicit = environment.for_slot(PoolOptions(processes=3, inner_threads=1), 0)
    assert explicit["OMP_NUM_THREADS"] == "1"


def test_inner_threads_limit_what_is_loaded(make: MakePool, method: str) -> None:
    """With fork the library is the parent's, loaded and with its threads set."""
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("numpy")
    assert make(1, method=method, inner_threads=1).apply(blas_threads) == {1}


def test_without_threadpoolctl_what_forked_workers_inherit_is_warned_of(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _: None)
    with pytest.warns(RuntimeWarning, match=r"numpy.*threadpoolctl") as caught:
        make(1, inner_threads=1)
    # Beside it, from 3.12 on, the interpreter's own word on forking while threads run.
    assert sum(each.category is RuntimeWarning for each in caught) == 1
    make(1, inner_threads=1, method="spawn")


def test_arguments_that_are_too_much_for_any_worker_do_not_go_round_for_ever(
    make: MakePool,
    hard: int,
) -> None:
    """By pipe a worker that dies while it receives has not taken the task; by ring it has."""
    numpy = pytest.importorskip("numpy")
    pool = make(1, max_memory_hard=hard, max_restarts=2)
    with pytest.raises((WorkerLostError, PoolBrokenError), match="max_memory_hard"):
        pool.apply(copy_and_stay, (numpy.ones(50 << 20),))


def test_variables_are_there_before_the_main_module_is_imported(
    make: MakePool, tmp_path: Path
) -> None:
    """Libraries read them when they are loaded, which the main module does."""
    import subprocess

    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\n"
        "import tines as mp\n"
        "seen = os.environ.get('CUDA_VISIBLE_DEVICES')\n"
        "def look(_=None):\n    return seen\n"
        "if __name__ == '__main__':\n"
        "    with mp.get_context('spawn').Pool(1, cuda_devices=[6]) as pool:\n"
        "        print(pool.apply(look))\n"
    )
    source = Path(__file__).parent.parent.parent / "src"
    variables = {**os.environ, "PYTHONPATH": str(source)}
    variables.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, str(program)], env=variables, capture_output=True, text=True, timeout=50
    )
    assert done.stdout.split() == ["6"], done.stderr


def test_each_slot_has_its_device_and_a_replacement_keeps_it(make: MakePool, method: str) -> None:
    pool = make(3, method=method, cuda_devices=[0, "GPU-1a2b"])

    def devices() -> dict[int, Any]:
        """Device by slot, of all workers."""
        seen: dict[int, Any] = {}
        slots: dict[int | None, int] = {}
        while len(seen) < 3:
            slots = {each.pid: each.slot for each in pool.statistics().workers}
            for worker, (device,) in pool.starmap(
                own_variables, [("CUDA_VISIBLE_DEVICES",)] * 6, chunksize=1
            ):
                if worker in slots:
                    seen[slots[worker]] = device
        return seen

    expected = {0: "0", 1: "GPU-1a2b", 2: "0"}
    assert devices() == expected
    for worker in pool.statistics().workers:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
    assert devices() == expected


def test_niceness_and_affinity(make: MakePool, method: str) -> None:
    core = max(os.sched_getaffinity(0))
    pool = make(1, method=method, niceness=3, affinity=(each for each in [core]))
    assert pool.apply(os.nice, (0,)) == min(os.nice(0) + 3, 19)
    assert pool.apply(os.sched_getaffinity, (0,)) == {core}
    worker = pool.apply(pid)
    os.kill(worker, signal.SIGKILL)
    assert pool.apply(os.sched_getaffinity, (0,), retries=2) == {core}


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "memory": ({"max_memory": 0}, ValueError, "max_memory=0"),
    "hard": ({"max_memory_hard": "1GB"}, TypeError, "max_memory_hard"),
    "crossed": ({"max_memory": 2, "max_memory_hard": 1}, ValueError, "is above max_memory_hard=1"),
    "threads": ({"inner_threads": 0}, ValueError, "inner_threads=0"),
    "words": ({"inner_threads": "all"}, TypeError, "inner_threads"),
    "device": ({"cuda_devices": 0}, TypeError, r"cuda_devices=0 .* \[0, 1\]"),
    "string": ({"cuda_devices": "01"}, TypeError, "cuda_devices='01'"),
    "float": ({"cuda_devices": [0.5]}, TypeError, "0.5"),
    "negative": ({"cuda_devices": [-1]}, ValueError, "-1 is not the number of a device"),
    "none": ({"cuda_devices": []}, ValueError, "empty"),
    "unknown": ({"max_memroy": 1}, TypeError, "max_memroy"),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_cannot_be(make: MakePool, case: str) -> None:
    options, kind, text = WRONG[case]
    with pytest.raises(kind, match=text):
        make(1, **options)
