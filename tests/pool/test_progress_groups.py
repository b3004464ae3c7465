"""``watch`` and ``as_completed``: groups of single calls, and of processes, shown and awaited."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tines
from pool_tasks import fail_at, fail_until, hold, nap, square
from pool_tools import MakePool
from progress_tools import Recorder, figures
from support.waiting import wait_for
from tines import context
from tines.errors import WaitTimeout
from tines.pool import watch

pytestmark = pytest.mark.usefixtures("no_display_stays")


def test_a_group_is_watched(make: MakePool, shown: Recorder, tmp_path: Path) -> None:
    pool = make(2)
    calls = [pool.apply_async(square, (x,)) for x in range(20)]
    calls.append(pool.apply_async(fail_at, (1, 1)))
    calls.append(
        pool.apply_async(fail_until, (str(tmp_path), 2), retries=1, retry_on=ConnectionError)
    )
    calls.append(pool.map_async(square, range(10)))
    with watch(calls, shown) as results:
        assert len(results) == 23
        for result in results:
            result.wait()
    assert shown.closed.is_set()
    assert figures(shown.last) == (32, 1, 1, 32, True)
    assert isinstance(calls[20].exception(), ValueError)


def test_watching_ends_with_the_block(make: MakePool, shown: Recorder) -> None:
    pool = make(1)
    with pytest.raises(KeyError), watch([pool.apply_async(nap, (30,))], shown):
        raise KeyError
    assert shown.closed.is_set()
    assert figures(shown.last) == (0, 0, 0, 1, True)
    with pytest.raises(TypeError, match="results must be"), watch([1]):  # type: ignore[list-item]
        pass


def test_results_as_completed(make: MakePool, shown: Recorder, tmp_path: Path) -> None:
    pool = make(2)
    gate = tmp_path / "gate"
    slow = pool.apply_async(hold, (str(gate),))
    quick = [pool.apply_async(square, (x,)) for x in range(10)]
    done = []
    for result in tines.as_completed([slow, *quick, slow], progress=shown):
        done.append(result)
        if len(done) == len(quick):
            gate.touch()
    assert done[-1] is slow
    assert set(done) == {slow, *quick}
    assert figures(shown.last) == (11, 0, 0, 11, True)
    assert list(tines.as_completed(quick)) == quick


def test_as_completed_runs_out_of_time(make: MakePool, shown: Recorder) -> None:
    calls = [make(1).apply_async(nap, (30,))]
    with pytest.raises(WaitTimeout, match=r"1 of the results are still missing after 0.01 s"):
        list(tines.as_completed(calls, 0.01, progress=shown))
    assert shown.closed.is_set()


def test_as_completed_that_is_left(make: MakePool, shown: Recorder) -> None:
    pool = make(1)
    calls = [pool.apply_async(square, (1,)), pool.apply_async(nap, (30,))]
    for _ in tines.as_completed(calls, progress=shown):
        break
    wait_for(shown.closed.is_set)


def test_processes_as_completed(shown: Recorder) -> None:
    ctx = context.default.get_context("fork")
    processes = [ctx.Process(target=sys.exit, args=(code,)) for code in (0, 3)]
    for process in processes:
        process.start()
    assert set(tines.as_completed(processes, progress=shown)) == set(processes)
    assert figures(shown.last) == (2, 1, 0, 2, True)


def test_as_completed_takes_nothing_else() -> None:
    with pytest.raises(TypeError, match="takes either processes or the results of apply_async"):
        tines.as_completed([1])
