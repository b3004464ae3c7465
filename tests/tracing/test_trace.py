"""Traces from end to end: valid whatever happens, and saying what happened."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import pytest

import tines
import traced_tasks
from tines import _tracing
from tines.pool.functions import Reference
from tines.tracing import analysis, recorder, workers
from tines.tracing.spool import SMALLEST
from trace_format import load_checked
from trace_tools import events, pool_of


def names_of(found):
    return [event["name"] for event in found]


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
    with tines.trace(run), pool_of(1) as pool:
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
    content = load_checked(run)
    (worker,) = (each for each in content["otherData"]["processes"] if each["role"] == "worker")
    assert worker["kept"]["tasks"] == len(events(content, "run")) <= 512
    assert worker["kept"]["tasks"] + worker["dropped"]["tasks"] == total
    main = content["otherData"]["processes"][0]
    assert main["kept"]["submits"] + main["dropped"]["submits"] == total
    assert main["kept"]["results"] + main["dropped"]["results"] == total


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


def test_a_task_that_runs_at_the_end_of_the_trace_is_unfinished(run):
    with tines.trace(run):
        pool = pool_of(1)
        result = pool.apply_async(traced_tasks.nap, (0.5,))
        while not result.running():
            os.sched_yield()
    with pool:
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
    report = analysis.analyse(content)
    for worker in report.workers:
        parts = worker.busy + worker.pickling + worker.waiting
        assert parts == pytest.approx(worker.ready, rel=0.2, abs=0.05)


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
        assert type(pool._core).__name__ == "Core"
        with tines.trace(run):
            pool.apply(traced_tasks.square, (1,))
    assert not events(load_checked(run), "run")
    assert _tracing.make_core is None


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
        pool.apply(traced_tasks.nap, (0.2,))
    content = load_checked(run)
    (die,) = (event for event in events(content, "run") if event["name"] == "traced_tasks.die")
    assert die["args"]["outcome"] == "lost" and die["dur"] < 100_000


@pytest.mark.parametrize("where", ["missing/run.json", ".", "file/run.json"])
def test_a_path_that_cannot_be_written_fails_at_the_start(tmp_path, where):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match="the trace cannot be written there"),
        tines.trace(tmp_path / where),
    ):
        pytest.fail("it has started")
    assert _tracing.make_core is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_bad_arguments(run):
    with pytest.raises(ValueError, match="max_bytes=1 is too small"):
        tines.trace(run, max_bytes=1)
    with tines.trace(run) as trace, pytest.raises(ValueError, match="runs already"):
        trace.start()


def test_a_path_that_becomes_unwritable_keeps_what_was_recorded(tmp_path):
    path = tmp_path / "run.json"
    trace = tines.trace(path).start()
    path.mkdir()
    with pytest.raises(OSError):
        trace.stop()
    assert len(list(tmp_path.glob("run.json.tines-*/*.spool"))) == 1


PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    import tines

    def double(number):
        return 2 * number

    if __name__ == "__main__":
        with tines.get_context(sys.argv[1]).Pool(2) as pool:
            print(pool.map(double, range(3)), flush=True)
            if "kill" in sys.argv:
                os.kill(os.getpid(), signal.SIGKILL)
            if "raise" in sys.argv:
                raise SystemExit(5)
            if "interrupt" in sys.argv:
                signal.raise_signal(signal.SIGINT)
    """
)


def program(tmp_path, *arguments, runner=(), **environment):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, *runner, str(script), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.mark.parametrize("end", [[], ["raise"]])
def test_through_the_environment(run, tmp_path, method, end):
    done = program(tmp_path, method, *end, TINES_TRACE=str(run))
    assert done.stdout == "[0, 2, 4]\n" and done.returncode == (5 if end else 0), done.stderr
    runs = events(load_checked(run), "run")
    assert sum(event["args"]["items"] for event in runs) == 3
    assert set(names_of(runs)) == {"double"}


def test_through_the_runner(run, tmp_path, method):
    done = program(tmp_path, method, runner=["-m", "tines", "--stats", "--trace", str(run)])
    assert done.stdout == "[0, 2, 4]\n" and done.returncode == 0, done.stderr
    assert "1 Pool" in done.stderr
    assert sum(event["args"]["items"] for event in events(load_checked(run), "run")) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no signal ends a program there")
@pytest.mark.parametrize("how", ["runner", "environment"])
def test_ctrl_c_ends_the_program_as_without_a_trace(run, tmp_path, how):
    if how == "runner":
        done = program(tmp_path, "spawn", "interrupt", runner=["-m", "tines", "--trace", str(run)])
    else:
        done = program(tmp_path, "spawn", "interrupt", TINES_TRACE=str(run))
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stderr.count("Traceback") == 1 and done.stderr.endswith("KeyboardInterrupt\n")
    assert sum(event["args"]["items"] for event in events(load_checked(run), "run")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trace", "missing/run.json"], "cannot be written there"),
        (["--trace=missing/run.json"], "cannot be written there"),
        (["--trace="], "needs the name of the file"),
    ],
)
def test_the_runner_refuses_bad_paths_before_it_runs(tmp_path, options, message):
    done = program(tmp_path, "fork", runner=["-m", "tines", *options])
    assert done.returncode == 2 and message in done.stderr and not done.stdout
    assert "[Errno" not in done.stderr


def test_the_environment_refuses_bad_paths_before_the_program_runs(tmp_path):
    done = program(tmp_path, "fork", TINES_TRACE="missing/run.json")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("TINES_TRACE=missing/run.json: ")
    assert "cannot be written there" in done.stderr and "[Errno" not in done.stderr


def test_what_a_killed_program_has_left_is_recovered(run, tmp_path):
    done = program(tmp_path, "fork", "kill", TINES_TRACE=str(run))
    assert done.returncode == -signal.SIGKILL and not run.exists()
    report = [sys.executable, "-m", "tines", "report", str(run)]
    failed = subprocess.run(report, capture_output=True, text=True, timeout=50)
    assert failed.returncode == 2 and "--recover" in failed.stderr
    recovered = subprocess.run(
        [*report, "--recover", "--json"], capture_output=True, text=True, timeout=50
    )
    assert recovered.returncode == 0, recovered.stderr
    assert json.loads(recovered.stdout)["functions"][0]["items"] == 3
    assert sum(event["args"]["items"] for event in events(load_checked(run), "run")) == 3


def test_the_command_line_is_not_traced_itself(run):
    run.write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "tines", "report", str(run)],
        env={**os.environ, "TINES_TRACE": str(run)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 2 and run.read_text() == "{}"


def test_a_worker_forgets_functions_that_are_long_gone():
    """Each map of a closure has a trailer of its own, with the closure's pickle in it."""
    log = SimpleNamespace(spool=SimpleNamespace(name=len), name=0)
    functions = workers._Functions(log)
    for number in range(1, 1000):
        data, _ = Reference(number, pickle.dumps(abs)).encode(())
        assert functions.find(data) is abs
        assert log.name == len("abs")
    assert len(functions._names) <= 256 and len(functions._known) <= 258
