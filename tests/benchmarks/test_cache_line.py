"""The round trip of a cache line: measured where it can be, kept with each run, and told."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from benchmarks.cache_line import CacheLine
from benchmarks.cli import main
from benchmarks.model import Run, Status
from benchmarks.report import documents
from benchmarks.results import Results

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None or len(os.sched_getaffinity(0)) < 2,
    reason="needs Linux, a C compiler and two cores",
)


@needs_compiler
def test_it_takes_longer_than_an_instruction_and_less_than_a_system_call() -> None:
    with CacheLine() as line:
        nanoseconds = line.nanoseconds()
    assert nanoseconds is not None
    assert 10 < nanoseconds < 50_000


@needs_compiler
def test_every_run_has_it(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    part = ["queue_small", "--quick", "--variant", "1-1", "--peers", "faulty_peers:sound"]
    assert main([*part, "--out", str(out)]) == 0
    assert all(run.cache_line_ns for run in Results.load_file(out).runs)


def test_without_a_compiler_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "a-compiler-that-nobody-wrote")
    with CacheLine() as line:
        assert line.nanoseconds() is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot be told to use one core")
def test_one_core_has_no_other() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with CacheLine() as line:
            assert line.nanoseconds() is None
    finally:
        os.sched_setaffinity(0, before)


def _runs(*nanoseconds: float | None) -> list[Run]:
    return [
        Run(
            "latency", "ping-pong", "tines", number, Status.OK, {"median": 2.0}, cache_line_ns=value
        )
        for number, value in enumerate(nanoseconds)
    ]


def test_the_line_about_the_machine_says_it() -> None:
    results = Results("2026-01-01T00:00:00Z", [], 3, False, {"cpu": "A CPU"}, {})
    told = documents.machine_line(results, _runs(98.0, 101.0, 404.0))
    assert "3 rounds, a cache line from core to core and back in 101 ns (98 to 404)" in told
    assert "cache line" not in documents.machine_line(results, _runs(None, None))
