"""How large a trace file becomes: compressed where its name says so, and bounded in any case."""

from __future__ import annotations

import gzip
import json

import pytest

import tines
import traced_tasks
from tines import cli
from tines.tracing import analysis
from tines.tracing.session import SMALLEST_FILE
from trace_format import check
from trace_tools import events, pool_of


@pytest.fixture
def packed(tmp_path):
    """A trace of 3000 tiny tasks, compressed."""
    path = tmp_path / "run.json.gz"
    with tines.trace(path), pool_of(2) as pool:
        pool.map(traced_tasks.square, range(3000), chunksize=1)
    return path


@pytest.mark.slow
def test_a_compressed_trace_is_small_and_read_like_any_other(packed, tmp_path, capsys):
    plain = tmp_path / "plain.json"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    assert packed.stat().st_size * 8 < plain.stat().st_size
    content = analysis.read(packed)
    assert content == analysis.read(plain) == json.loads(plain.read_text())
    check(content)
    assert analysis.analyse(content).pools[0].items == 3000
    assert cli.main(["report", str(packed), "--html", str(tmp_path / "report.html")]) == 0
    capsys.readouterr()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("size", [10, 1000])
def test_a_compressed_trace_that_was_cut_off(packed, size, capsys):
    packed.write_bytes(packed.read_bytes()[:size])
    assert cli.main(["report", str(packed)]) == 2
    assert "was cut off" in capsys.readouterr().err


@pytest.mark.parametrize("limit", [SMALLEST_FILE, 400_000])
def test_a_file_is_no_larger_than_it_may_be_and_its_sums_are_right(run, limit):
    with tines.trace(run, max_file_bytes=limit), pool_of(2, retries=1) as pool:
        pool.map(traced_tasks.square, range(2000), chunksize=1)
        with pytest.raises(LookupError):
            pool.apply(traced_tasks.fail, (1,))
    # What is no task (processes, names, totals) is there in any case.
    assert limit / 3 < run.stat().st_size < limit + 16_000
    content = analysis.read(run)
    check(content)
    runs = events(content, "run")
    assert 0 < len(runs) < 2001
    last = max(runs, key=lambda event: event["ts"])
    assert last["args"]["outcome"] == "raised"  # the oldest are left out
    report = analysis.analyse(content)
    (pool,) = report.pools
    assert pool.items == pool.tasks == 2001
    assert sum(worker.tasks for worker in report.workers) == pool.tasks
    assert report.dropped > 0 and "dropped" in [each.code for each in report.advice]
    assert sum(worker.busy + worker.pickling for worker in report.workers) <= 2 * pool.elapsed
    assert pool.elapsed <= report.seconds


def test_what_fits_is_there(run):
    with tines.trace(run), pool_of(1) as pool:
        pool.map(traced_tasks.square, range(300), chunksize=1)
    assert len(events(analysis.read(run), "run")) == 300
    assert analysis.analyse(analysis.read(run)).dropped == 0


def test_a_bound_that_is_too_small_is_refused(run):
    with pytest.raises(ValueError, match=f"max_file_bytes=10 is too small.*{SMALLEST_FILE}"):
        tines.trace(run, max_file_bytes=10)
