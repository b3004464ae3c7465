"""When a trace begins and ends, beside others, and where it is written."""

from __future__ import annotations

import gc
import os
import time

import pytest

import tines
import traced_tasks
from tines.pool.events import observer_of
from tines.tracing import workers
from trace_format import load_checked
from trace_tools import events, names_of, pool_of


def test_the_file_is_written_when_the_body_raises(run):
    with pytest.raises(KeyboardInterrupt), tines.trace(run), pool_of(1) as pool:
        pool.apply(traced_tasks.square, (2,))
        raise KeyboardInterrupt
    assert len(events(load_checked(run), "run")) == 1


def test_a_pool_that_outlives_its_trace_goes_on(run):
    with tines.trace(run):
        pool = pool_of(1)
        assert pool.apply(traced_tasks.square, (2,)) == 4
    assert len(events(load_checked(run), "run")) == 1
    written = run.read_bytes()
    with pool:
        assert pool.map(traced_tasks.square, range(100)) == [n * n for n in range(100)]
        with pytest.raises(tines.WorkerLostError):
            pool.apply(traced_tasks.die, (1,))
        assert pool.apply(traced_tasks.square, (3,)) == 9
    assert run.read_bytes() == written


def test_a_task_that_runs_at_the_end_of_the_trace_is_unfinished(run, tmp_path):
    gate = tmp_path / "gate"
    with tines.trace(run):
        pool = pool_of(1)
        result = pool.apply_async(traced_tasks.hold, (str(gate),))
        while not result.running():
            os.sched_yield()
    with pool:
        gate.touch()
        result.get()
    runs = events(load_checked(run), "run")
    assert [event["args"]["outcome"] for event in runs] in ([], ["unfinished"])


def test_nested_traces(run, tmp_path):
    inner = tmp_path / "inner.json"
    with tines.trace(run), pool_of(1) as pool:
        pool.apply(traced_tasks.square, (1,))
        with tines.trace(inner):
            pool.apply(traced_tasks.nap, (0.001,))
        pool.apply(traced_tasks.square, (1,))
    outer, inner = load_checked(run), load_checked(inner)
    assert names_of(events(inner, "run")) == ["traced_tasks.nap"]
    assert not inner["otherData"]["whole"] and outer["otherData"]["whole"]
    assert len(events(outer, "run")) == 3


def test_a_task_that_ran_before_is_not_in_a_trace_though_its_worker_noted_its_end_late(
    run, tmp_path, monkeypatch
):
    gate, inner = tmp_path / "gate", tmp_path / "inner.json"
    done = workers._TaskLog.done

    def late(self, raised, sending, _):
        while not gate.exists():
            time.sleep(0.001)
        done(self, raised, sending, time.monotonic_ns())

    monkeypatch.setattr(workers._TaskLog, "done", late)
    with tines.trace(run), pool_of(1) as pool:
        pool.apply(traced_tasks.square, (1,))
        with tines.trace(inner):
            gate.touch()
            pool.apply(traced_tasks.nap, (0.001,))
    assert names_of(events(load_checked(inner), "run")) == ["traced_tasks.nap"]
    assert len(events(load_checked(run), "run")) == 2


def test_the_first_trace_may_end_first(run, tmp_path):
    second = tines.trace(tmp_path / "second.json")
    with tines.trace(run), pool_of(1) as pool:
        second.start()
        pool.apply(traced_tasks.square, (1,))
    with pool_of(1) as pool:
        pool.apply(traced_tasks.nap, (0.001,))
    second.stop()
    second.stop()
    assert names_of(events(load_checked(run), "run")) == ["traced_tasks.square"]
    both = names_of(events(load_checked(second.path), "run"))
    assert both == ["traced_tasks.square", "traced_tasks.nap"]


def test_one_after_the_other(run, tmp_path):
    for path in (run, tmp_path / "second.json", run):
        with tines.trace(path), pool_of(1) as pool:
            pool.apply(traced_tasks.square, (1,))
        assert len(events(load_checked(path), "run")) == 1


def test_a_task_may_trace_itself_inside_a_trace(run, tmp_path):
    inner = tmp_path / "inner.json"
    with tines.trace(run), pool_of(1) as pool:
        assert pool.apply(traced_tasks.trace_inside, (str(inner),)) == 30
        assert pool.apply(traced_tasks.nested, (2,)) == [0, 1]
    assert len(events(load_checked(inner), "run")) == 5
    assert len(events(load_checked(run), "run")) == 4


def test_nothing_is_traced_otherwise(run):
    with pool_of(1) as pool:
        assert pool._core.dispatcher._observer is None
        with tines.trace(run):
            pool.apply(traced_tasks.square, (1,))
    assert not events(load_checked(run), "run")
    assert observer_of("ring", 1) is None


def test_an_empty_trace_is_valid(run):
    with tines.trace(run):
        pass
    load_checked(run)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_that_is_forked_by_hand_writes_nothing(run):
    with tines.trace(run), pool_of(1) as pool:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with tines.trace(run.parent / "child.json"), pool_of(1) as own:
                    own.apply(traced_tasks.square, (1,))
                trace = tines.tracing.session._session
                status = 0 if trace is None and not run.exists() else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        pool.apply(traced_tasks.nap, (0.001,))
    assert names_of(events(load_checked(run), "run")) == ["traced_tasks.nap"]
    own = load_checked(run.parent / "child.json")
    assert names_of(events(own, "run")) == ["traced_tasks.square"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors cannot be counted")
def test_no_descriptor_is_left(run):
    def traced():
        with tines.trace(run), pool_of(1) as pool:
            pool.apply(traced_tasks.square, (1,))
        del pool
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    traced()
    before = traced()
    assert max(traced() for _ in range(3)) <= before


@pytest.mark.parametrize("where", ["missing/run.json", ".", "file/run.json"])
def test_a_path_that_cannot_be_written_fails_at_the_start(tmp_path, where):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match="the trace cannot be written there"),
        tines.trace(tmp_path / where),
    ):
        pytest.fail("it has started")
    assert observer_of("ring", 1) is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_bad_arguments(run):
    with pytest.raises(ValueError, match="max_bytes=1 is too small"):
        tines.trace(run, max_bytes=1)
    with tines.trace(run) as trace, pytest.raises(ValueError, match="is already running"):
        trace.start()


def test_a_path_that_becomes_unwritable_keeps_what_was_recorded(tmp_path):
    path = tmp_path / "run.json"
    trace = tines.trace(path).start()
    path.mkdir()
    with pytest.raises(OSError):
        trace.stop()
    assert len(list(tmp_path.glob("run.json.tines-*/*.spool"))) == 1
