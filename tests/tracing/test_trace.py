"""Traces of pools and processes: valid whatever happens, and saying what happened."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
from types import SimpleNamespace

import pytest

import tines
import traced_tasks
from support.waiting import PATIENCE
from tines.pool.worker.functions import Reference
from tines.tracing import analysis, recorder, workers
from tines.tracing.spool import SMALLEST
from trace_accounts import check_accounts
from trace_format import load_checked
from trace_tools import events, names_of, pool_of


def test_a_pool_on_each_transport_and_start_method(run, transport, method):
    with tines.trace(run):
        pool = pool_of(2, method=method, transport=transport)
        assert pool.map(traced_tasks.square, range(40), chunksize=4) == [n * n for n in range(40)]
        assert pool.apply(traced_tasks.nap, (0.01,)) == 0.01
        assert sorted(pool.imap_unordered(abs, range(5))) == list(range(5))
        with pytest.raises(LookupError):
            pool.apply(traced_tasks.fail, (1,))
        pool.close()
        pool.join()
    content = load_checked(run)
    runs = events(content, "run")
    squares = [event for event in runs if event["name"] == "traced_tasks.square"]
    assert len(squares) == 10 and {event["args"]["items"] for event in squares} == {4}
    (nap,) = (event for event in runs if event["name"] == "traced_tasks.nap")
    assert nap["dur"] >= 10_000 and nap["args"]["outcome"] == "returned"
    (fail,) = (event for event in runs if event["name"] == "traced_tasks.fail")
    assert fail["args"]["outcome"] == "raised"
    assert names_of(runs).count("abs") == 5
    assert len(events(content, "start-up")) == 2
    # Each task is there with all its steps, and connected.
    assert len(runs) == 17
    for category in ("deserialise", "serialise", "submit", "result"):
        assert len(events(content, category)) == 17, category
    for phase in "stf":
        assert len(events(content, "task", phase)) == 17
    for phase in "be":
        assert len(events(content, "queued", phase)) == 17
    assert len(events(content, "wait")) == 17 + 2
    assert all(event["args"]["queued_us"] >= 0 for event in runs)
    (pool_data,) = content["otherData"]["pools"]
    assert pool_data["transport"] == transport.name
    assert not events(content, "death", "i")


def test_totals_agree_with_the_slices(run):
    with tines.trace(run), pool_of(2) as pool:
        pool.map(traced_tasks.nap, [0.001] * 30, chunksize=1)
        pool.close()
        pool.join()  # so that each worker has written how its last task ended
    content = load_checked(run)
    workers = [each for each in content["otherData"]["processes"] if each["role"] == "worker"]
    for category, total in (("run", "run"), ("deserialise", "deserialise")):
        shown = sum(event["dur"] for event in events(content, category))
        assert shown * 1000 == pytest.approx(sum(w["kept"][total] for w in workers), rel=1e-3)
    assert sum(worker["kept"]["items"] for worker in workers) == 30


def test_a_killed_worker_leaves_a_valid_trace_with_its_death(run, transport):
    with tines.trace(run):
        pool = pool_of(2, transport=transport)
        pool.map(traced_tasks.square, range(10), chunksize=1)
        with pytest.raises(tines.WorkerLostError) as lost:
            pool.apply(traced_tasks.die, (1,))
        assert pool.apply(traced_tasks.square, (3,)) == 9
        pool.close()
        pool.join()
    content = load_checked(run)
    (death,) = events(content, "death", "i")
    assert death["args"]["pid"] == lost.value.pid and "SIGKILL" in death["args"]["how"]
    (die,) = (event for event in events(content, "run") if event["name"] == "traced_tasks.die")
    assert die["args"]["outcome"] == "lost" and die["pid"] == lost.value.pid
    assert die["ts"] + die["dur"] <= death["ts"] + 0.01
    workers = [each for each in content["otherData"]["processes"] if each["role"] == "worker"]
    assert sorted(worker["exitcode"] for worker in workers) == [-9, 0, 0]


def test_a_worker_killed_by_unpickling_shows_what_it_was_at(run):
    with tines.trace(run), pool_of(1) as pool, pytest.raises(tines.WorkerLostError):
        pool.apply(traced_tasks.square, (traced_tasks.KillsWhenUnpickled(),))
    content = load_checked(run)
    assert len(events(content, "death", "i")) == 3
    assert len(events(content, "deserialise")) == 3
    assert not events(content, "run")


def test_retries_show(run, tmp_path, transport):
    with tines.trace(run), pool_of(1, transport=transport, retries=1) as pool:
        pool.apply(traced_tasks.die_once, (str(tmp_path / "done"),))
    content = load_checked(run)
    (retry,) = events(content, "retry", "i")
    assert retry["args"]["attempt"] == 2
    outcomes = [(e["args"]["attempt"], e["args"]["outcome"]) for e in events(content, "run")]
    assert outcomes == [(1, "lost"), (2, "returned")]


def test_timeouts_and_cancellations_show(run):
    with tines.trace(run), pool_of(1, grace=PATIENCE) as pool:
        with pytest.raises(tines.TaskTimeoutError):
            pool.apply(traced_tasks.nap, (30,), timeout=0.05)
        result = pool.apply_async(traced_tasks.nap, (30,))
        while not result.running():
            os.sched_yield()
        assert result.cancel()
        assert pool.apply(traced_tasks.square, (2,)) == 4
    content = load_checked(run)
    assert names_of(events(content, "order", "i"))[:2] == ["timeout", "cancel"]
    assert not events(content, "death", "i")


def test_processes_show_with_their_outcome(run, method):
    context = tines.get_context(method)
    with tines.trace(run):
        for target, args in ((traced_tasks.do_nothing, ()), (traced_tasks.exit_with, (3,))):
            process = context.Process(target=target, args=args, name=target.__name__)
            process.start()
            process.join()
        process = context.Process(target=traced_tasks.wait_for_ever, name="killed")
        process.start()
        process.kill()
        process.join()
    content = load_checked(run)
    shown = {event["name"]: event["args"]["exitcode"] for event in events(content, "process")}
    assert shown.items() >= {"do_nothing": 0, "exit_with": 3}.items()
    assert shown.get("killed", -9) == -9  # it may be killed before it opens its spool
    assert names_of(events(content, "start")) == [
        "start do_nothing",
        "start exit_with",
        "start killed",
    ]
    assert "exit_with" in [event["args"]["name"] for event in events(content, "death", "i")]


def test_pools_inside_workers_are_traced(run):
    with tines.trace(run), pool_of(1) as pool:
        assert pool.apply(traced_tasks.nested, (4,)) == [0, 1, 4, 9]
    content = load_checked(run)
    assert len(content["otherData"]["pools"]) == 2
    assert names_of(events(content, "run")).count("traced_tasks.square") == 4


@pytest.mark.slow
def test_memory_is_bounded_and_what_is_dropped_is_counted(run):
    total = 20_000
    with tines.trace(run, max_bytes=SMALLEST), pool_of(1) as pool:
        pool.map(traced_tasks.square, range(total), chunksize=1)
        pool.close()
        pool.join()
    content = load_checked(run)
    (worker,) = (each for each in content["otherData"]["processes"] if each["role"] == "worker")
    assert worker["kept"]["tasks"] == len(events(content, "run")) <= 512
    assert worker["kept"]["tasks"] + worker["dropped"]["tasks"] == total
    main = content["otherData"]["processes"][0]
    assert main["kept"]["submits"] + main["dropped"]["submits"] == total
    assert main["kept"]["results"] + main["dropped"]["results"] == total


@pytest.mark.slow
@pytest.mark.watchdog(120)
@pytest.mark.parametrize("seed", range(4))
def test_traces_are_valid_whoever_dies_whenever(run, tmp_path, transport, seed):
    inner = tmp_path / "inner.json"

    def submit(pool):
        for result in [pool.apply_async(traced_tasks.gamble, (seed,)) for _ in range(60)]:
            with contextlib.suppress(tines.WorkerLostError):
                result.get()

    size = (SMALLEST, 2**20)[seed % 2]
    with tines.trace(run, max_bytes=size), pool_of(3, transport=transport, retries=2) as pool:
        threads = [threading.Thread(target=submit, args=(pool,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        # Its edges lie anywhere in the work of the others.
        with tines.trace(inner):
            with contextlib.suppress(tines.WorkerLostError):
                pool.map(traced_tasks.gamble, range(100), chunksize=7)
            list(pool.imap_unordered(traced_tasks.nap, [0.01] * 60, chunksize=30))
        for thread in threads:
            thread.join()
    load_checked(inner)
    content = load_checked(run)
    assert all(event["args"]["pid"] for event in events(content, "death", "i"))
    check_accounts(content)


def test_beyond_so_many_children_none_are_traced(run, monkeypatch):
    monkeypatch.setattr(recorder, "MOST_PROCESSES", 1)
    with tines.trace(run), pool_of(3) as pool:
        workers = set()
        while len(workers) < 3:  # the one that is traced among them
            workers.add(pool.apply(os.getpid))
    content = load_checked(run)
    assert len(content["otherData"]["processes"]) == 2
    assert content["otherData"]["untraced"] == ["processes after the first 1"]
    assert analysis.analyse(content).notes == ("not traced: processes after the first 1",)


def test_a_child_without_room_for_its_spool_runs_untraced(run, monkeypatch):
    with tines.trace(run):

        def refuse(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("tines.tracing.spool._reserve", refuse)  # forked children inherit it
        with pool_of(1) as pool:
            assert pool.apply(traced_tasks.square, (3,)) == 9
        monkeypatch.undo()
    content = load_checked(run)
    assert len(content["otherData"]["processes"]) == 1 and len(events(content, "submit")) == 1


def test_a_death_whose_record_was_dropped_ends_its_task_all_the_same(run, monkeypatch):
    monkeypatch.setattr(recorder.Recorder, "ended", lambda *_: None)
    with tines.trace(run), pool_of(1) as pool:
        with pytest.raises(tines.WorkerLostError):
            pool.apply(traced_tasks.die, (1,))
        pool.apply(traced_tasks.nap, (0.01,))
    content = load_checked(run)
    die, nap = sorted(events(content, "run"), key=lambda event: event["ts"])
    assert (die["name"], die["args"]["outcome"]) == ("traced_tasks.die", "lost")
    assert nap["name"] == "traced_tasks.nap" and die["ts"] + die["dur"] <= nap["ts"]


def test_a_worker_forgets_functions_that_are_long_gone():
    """Each map of a closure has a trailer of its own, with the closure's pickle in it."""
    log = SimpleNamespace(spool=SimpleNamespace(name=len), name=0)
    functions = workers._Functions(log)
    for number in range(1, 1000):
        data, _ = Reference(number, pickle.dumps(abs)).encode(())
        assert functions.find(data) is abs
        assert log.name == len("abs")
    assert len(functions._names) <= 256 and len(functions._known) <= 258


def test_a_worker_killed_when_its_outcome_is_out_shows_which_it_was(run, monkeypatch):
    def die(log, raised, sending, done):
        os.kill(os.getpid(), signal.SIGKILL)

    with tines.trace(run):
        monkeypatch.setattr(workers._TaskLog, "done", die)  # forked workers have it as well
        for function, outcome in ((traced_tasks.fail, LookupError), (traced_tasks.square, None)):
            ends = contextlib.nullcontext() if outcome is None else pytest.raises(outcome)
            with pool_of(1) as pool, ends:
                pool.apply(function, (3,))
    shown = {run["name"]: run["args"] for run in events(load_checked(run), "run")}
    assert shown["traced_tasks.fail"]["outcome"] == "raised"
    assert shown["traced_tasks.square"]["outcome"] == "returned"
    assert all(arguments["open"] for arguments in shown.values())
    report = analysis.analyse(load_checked(run))
    assert [pool.tasks for pool in report.pools] == [1, 1] and report.raised == 1
