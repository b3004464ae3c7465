"""``tines report``: figures that are right, and advice where a threshold is passed."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time

import pytest

import tines
import traced_tasks
from support.waiting import PATIENCE, wait_for
from tines import cli
from tines.cli import report as command
from tines.tracing import advice, analysis
from tines.tracing.report import PoolShare, ProcessEnd, Report, WorkerShare
from tines.tracing.spool import SMALLEST
from trace_accounts import check_accounts
from trace_tools import pool_of


def report_of(path):
    return analysis.analyse(analysis.read(path))


def runs_of(path):
    return [each for each in analysis.read(path)["traceEvents"] if each.get("cat") == "run"]


def codes(report):
    return [each.code for each in report.advice]


@pytest.fixture
def balanced(run):
    """A trace of sixty naps on two workers."""
    with tines.trace(run), pool_of(2) as pool:
        pool.map(traced_tasks.nap, [0.005] * 60, chunksize=1)
        pool.close()
        pool.join()  # so that each worker is there, also one that started late
    return run


def test_where_the_time_went(balanced):
    report = report_of(balanced)
    assert report.processes == 3 and len(report.workers) == 2
    (pool,) = report.pools
    assert pool.tasks == pool.items == 60 == sum(worker.tasks for worker in report.workers)
    assert 0.3 <= sum(worker.busy for worker in report.workers) <= 2 * report.seconds
    assert 0.15 <= pool.ideal <= pool.active <= report.seconds
    assert pool.active <= pool.elapsed <= report.seconds
    assert pool.throughput == pytest.approx(60 / pool.elapsed)
    check_accounts(analysis.read(balanced))
    (function,) = report.functions
    assert function.name == "traced_tasks.nap" and function.items == 60
    assert len(report.slowest) == 10 and report.slowest[0].seconds == function.longest
    assert not report.deaths and not report.retries and not report.dropped


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_dropped_tasks_still_count(run, method):
    with tines.trace(run, max_bytes=SMALLEST), pool_of(1, method=method) as pool:
        name = pool._pool[0].name
        pool.map(traced_tasks.square, range(5000), chunksize=1)
    content = analysis.read(run)
    assert not [each for each in content["traceEvents"] if each.get("cat") == "start"]  # dropped
    report = report_of(run)
    (worker,), (pool,) = report.workers, report.pools
    assert worker.tasks == pool.items == 5000 and worker.name == name
    assert report.dropped > 0 and "dropped" in codes(report)
    # The rate is one by the wall: all that the worker did took that time at least.
    assert worker.busy + worker.pickling <= pool.elapsed <= report.seconds
    assert pool.throughput == 5000 / pool.elapsed


def test_items_a_second_are_those_of_the_wall(run):
    with tines.trace(run, max_bytes=8 << 20), pool_of(1) as pool:
        pool.map(abs, range(3000), chunksize=1)
    report = report_of(run)
    (worker,), (pool,) = report.workers, report.pools
    assert pool.active <= worker.busy + worker.pickling <= pool.elapsed <= report.seconds
    assert pool.throughput == 3000 / pool.elapsed


def test_tasks_that_only_wait_are_told_from_those_that_compute(run):
    with tines.trace(run), pool_of(1) as pool:
        pool.map(traced_tasks.nap, [0.05] * 10, chunksize=1)
    report = report_of(run)
    (worker,) = report.workers
    if worker.cpu + worker.core_wait < 0.2 * worker.busy:  # on a busy machine tasks wait for that
        assert "tasks-wait" in codes(report)
    with tines.trace(run), pool_of(1) as pool:
        pool.map(traced_tasks.compute, [0.02] * 10, chunksize=1)
        pool.close()
        pool.join()  # a worker that is terminated may not have noted the end of its last task
    report = report_of(run)
    (worker,) = report.workers
    assert (
        worker.cpu + worker.busy / 100 >= 10 * 0.02
    )  # it is kept in hundredths of what a task took
    assert all(each["args"]["cpu_us"] > 0 for each in runs_of(run))


def test_what_is_done_already_is_not_advised(run, tmp_path):
    with tines.trace(run), pool_of(1, retries=1, max_memory=1 << 40) as pool:
        pool.apply(traced_tasks.die_once, (str(tmp_path / "done"),))
        pool.map(traced_tasks.square, range(10))
    report = report_of(run)
    assert report.pools[0].uses == ("max_memory", "measured", "retries")
    (deaths,) = (each.text for each in report.advice if each.code == "deaths")
    assert "retries=" not in deaths and "max_memory=" not in deaths


def test_deaths_retries_and_timeouts_are_counted(run, tmp_path):
    with tines.trace(run), pool_of(1, retries=1, grace=PATIENCE) as pool:
        pool.apply(traced_tasks.die_once, (str(tmp_path / "done"),))
        with pytest.raises(tines.TaskTimeoutError):
            pool.apply(traced_tasks.nap, (30,), timeout=0.02)
    report = report_of(run)
    (death,) = report.deaths
    assert "SIGKILL" in death.how
    assert (report.retries, report.timeouts) == (1, 1)
    assert {"deaths", "retries"} <= set(codes(report))


def test_a_long_task_at_the_end_is_found(run, tmp_path):
    gates = [tmp_path / "open", tmp_path / "gate"]
    gates[0].touch()
    with tines.trace(run), pool_of(2) as pool:
        workers = set()
        while len(workers) < 2:
            workers.add(pool.apply(os.getpid))
        result = pool.map_async(traced_tasks.hold, [str(gates[0])] * 20 + [str(gates[1])], 1)
        wait_for(lambda: result.counts().done == 20)
        wait_for(lambda: any(worker.items for worker in pool.statistics().workers))
        time.sleep(0.5)
        gates[1].touch()
        result.get()
    report = report_of(run)
    (pool,) = report.pools
    assert pool.imbalance > 1.25 and pool.tail > 0.2
    assert "imbalance" in codes(report)
    assert report.slowest[0].seconds >= 0.5


# The rules, one by one, on figures that pass one threshold each.

WORKER = WorkerShare(
    pid=2,
    name="PoolWorker-1",
    pool=1,
    slot=0,
    ready=10.0,
    startup=0.1,
    tasks=500,
    items=500,
    busy=9.8,
    pickling=0.1,
    waiting=0.1,
    end="exited with code 0",
    cpu=9.7,
)
POOL = PoolShare(
    pool=1,
    pid=1,
    transport="ring",
    processes=2,
    workers=2,
    tasks=1000,
    items=1000,
    active=10.0,
    ideal=9.8,
    tail=0.1,
    pickling=0.1,
    sending=0.1,
    sent_bytes=1000,
    received_bytes=1000,
    queued=0.01,
    elapsed=10.5,
)
GOOD = Report(
    seconds=11.0,
    processes=3,
    workers=(WORKER, dataclasses.replace(WORKER, pid=3)),
    pools=(POOL,),
    functions=(),
    slowest=(),
    deaths=(),
    retries=0,
    timeouts=0,
    cancelled=0,
    raised=0,
    dropped=0,
)


def changed(*, worker=None, pool=None, **fields):
    workers = tuple(dataclasses.replace(each, **(worker or {})) for each in GOOD.workers)
    pools = (dataclasses.replace(POOL, **(pool or {})),)
    return dataclasses.replace(GOOD, **{"workers": workers, "pools": pools, **fields})


def test_a_good_run_needs_no_advice():
    assert list(advice.give(GOOD)) == []


@pytest.mark.parametrize(
    ("report", "code", "says"),
    [
        (changed(worker={"busy": 0.02, "waiting": 3.0}), "short-tasks", "chunksize=50"),
        (
            changed(worker={"busy": 0.0005}, pool={"items": 100_000, "tasks": 100_000}),
            "short-tasks",
            "100,000 tasks of 0.01 us each",
        ),
        (
            changed(
                worker={"busy": 0.05, "items": 50_000}, pool={"items": 100_000, "tasks": 25_000}
            ),
            "short-tasks",
            "25,000 chunks of 4 items took 4 us each",
        ),
        (changed(worker={"busy": 5.0, "pickling": 4.5}), "pickling", "functools.partial"),
        (changed(pool={"ideal": 6.0, "tail": 4.0}), "imbalance", "longest tasks first"),
        (
            changed(worker={"busy": 3.0, "waiting": 6.8}, pool={"ideal": 3.0, "pickling": 7.0}),
            "feeding",
            "names of files",
        ),
        (changed(worker={"busy": 3.0, "waiting": 6.8}), "waiting", "imap_unordered"),
        (changed(worker={"startup": 3.0}), "start-up", "keep one pool"),
        (changed(deaths=(ProcessEnd(2, "w", "was killed by SIGKILL", 1.0),)), "deaths", "memory"),
        (changed(deaths=(ProcessEnd(2, "w", "exited with code 3", 1.0),)), "deaths", "code 3"),
        (changed(worker={"cpu": 0.5}), "tasks-wait", "more than 2 workers"),
        (changed(retries=2), "retries", "2 tasks were"),
        (changed(dropped=7), "dropped", "max_bytes="),
    ],
)
def test_each_threshold_has_its_advice(report, code, says):
    (given,) = advice.give(report)
    assert given.code == code and says in given.text


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda pool: pool.map(abs, range(20_000), chunksize=1), ("20,000 tasks of", "map()")),
        (
            lambda pool: [pool.apply(abs, (1,)) for _ in range(500)],
            ("500 tasks of", "chunksize="),
        ),
        (lambda pool: pool.map(abs, range(20_000), chunksize=4), ("5,000 chunks of 4", "map()")),
        (lambda pool: pool.map(abs, range(100)), ()),
    ],
)
def test_many_trivial_tasks(run, work, says):
    with tines.trace(run, max_bytes=8 << 20), pool_of(2) as pool:
        work(pool)
    # What else is said depends on how fast the transport is.
    given = [each for each in advice.give(report_of(run)) if each.code == "short-tasks"]
    assert len(given) == bool(says)
    for each in given:
        assert all(part in each.text for part in says), each.text


def test_a_run_that_was_over_at_once_says_little(run, capsys):
    with tines.trace(run), pool_of(1) as pool:
        pool.apply(abs, (1,))
    assert cli.main(["report", str(run)]) == 0
    assert "which says little" in capsys.readouterr().out


def test_no_advice_to_do_what_was_done():
    short = {"items": 100_000, "tasks": 25_000, "uses": ("measured",)}
    (given,) = advice.give(changed(worker={"busy": 0.05}, pool=short))
    assert "chunksize" not in given.text and "into one" in given.text
    (given,) = advice.give(changed(worker={"busy": 0.05}, pool={**short, "items": 25_000 * 4000}))
    assert "chunksize=" not in given.text
    single = changed(pool={"ideal": 6.0, "tail": 4.0})
    (given,) = advice.give(single)
    assert "smaller chunks" not in given.text  # each item travels alone already
    (given,) = advice.give(changed(worker={"busy": 3, "waiting": 6.8}, pool={"processes": 1}))
    assert "fewer" not in given.text
    busy = changed(worker={"cpu": 1.9}, pool={"processes": 16, "active": 4.0})
    assert [each.code for each in advice.give(dataclasses.replace(busy, cores=8))] == ["tasks-wait"]
    assert not list(advice.give(dataclasses.replace(busy, cores=1)))  # they wait for a core
    # So they do on a machine that others use as well.
    assert not list(advice.give(changed(worker={"cpu": 0.5, "core_wait": 5.0})))


# The command.


def test_the_text_has_all_sections(balanced, capsys):
    assert cli.main(["report", str(balanced), "--top", "3"]) == 0
    out = capsys.readouterr().out
    for section in ("Pools", "Workers", "Functions", "Slowest tasks", "What to change"):
        assert f"\n{section}\n" in out
    assert "60 items in 60 tasks" in out
    assert out.count("traced_tasks.nap") == 1 + 3
    assert out.count("traced_tasks.nap(0.005)") == 3  # the slowest, with their arguments


def test_rich_shows_the_same(balanced):
    rich = pytest.importorskip("rich.console")
    report = report_of(balanced)
    screen = rich.Console(file=io.StringIO(), width=120)
    command.render(report, screen)
    text = screen.file.getvalue()
    for part in ("Pools", "Workers", "Functions", "Slowest tasks", "traced_tasks.nap"):
        assert part in text


def test_json_is_for_programs(balanced, capsys):
    assert cli.main(["report", str(balanced), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["pools"][0]["items"] == 60 and data["pools"][0]["imbalance"] >= 1
    assert data["workers"][0]["busy"] > 0 and data["advice"] == [
        dataclasses.asdict(each) for each in report_of(balanced).advice
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("", "is not JSON, or was cut off"),
        ('{"traceEvents": [', "is not JSON, or was cut off"),
        ("[]", "was not written by tines.trace()"),
        ('{"traceEvents": []}', "was not written by tines.trace()"),
        ('{"otherData": {"producer": "tines", "format": 99}}', "has format 99"),
    ],
)
def test_bad_files(tmp_path, capsys, content, message):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    assert cli.main(["report", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("tines report: ") and message in captured.err
    assert not captured.out


@pytest.mark.parametrize("damage", [1, None, {}, {"ph": "X"}, {"ph": "X", "cat": "run"}])
def test_a_trace_that_somebody_has_changed(balanced, capsys, damage):
    content = json.loads(balanced.read_text())
    content["traceEvents"].append(damage)
    balanced.write_text(json.dumps(content))
    assert cli.main(["report", str(balanced)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("tines report: the trace is not as tines.trace() wrote it")
    assert not captured.out


def test_how_many_are_shown_must_be_a_number(run, capsys):
    with pytest.raises(SystemExit):
        cli.main(["report", str(run), "--top", "-1"])
    assert "'-1' is not a whole number above zero" in capsys.readouterr().err


def test_nothing_to_recover(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "run.json"), "--recover"]) == 2
    assert "nothing to recover" in capsys.readouterr().err


def test_a_trace_that_is_being_made_is_not_recovered(run, capsys):
    with tines.trace(run):
        assert cli.main(["report", str(run), "--recover"]) == 2
    assert "still tracing" in capsys.readouterr().err


def test_a_trace_without_pools(run, capsys):
    with tines.trace(run):
        time.sleep(0)
    assert cli.main(["report", str(run)]) == 0
    assert "No pool was made" in capsys.readouterr().out
