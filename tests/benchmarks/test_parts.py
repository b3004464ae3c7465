"""Running the benchmarks in parts: only what the bars need, resumed, and with the time it will take."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks.cli import main
from benchmarks.model import Run, Status
from benchmarks.plan import Case, make_plan
from benchmarks.results import Results

from benchmarks import goals, runner

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the queue subjects fork")

PART = ["queue_small", "--quick", "--variant", "1-1", "--peers", "faulty_peers:sound"]


def key(results: Results) -> list[tuple[str, str, int]]:
    return [(run.variant, run.peer, run.round) for run in results.runs]


def test_a_file_is_added_to_and_nothing_is_run_twice(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    assert main([*PART, "--rounds", "1", "--out", str(out)]) == 0
    first = Results.load_file(out)
    assert main([*PART, "--rounds", "2", "--resume", str(out)]) == 0
    second = Results.load_file(out)
    assert second.runs[: len(first.runs)] == first.runs
    assert len(set(key(second))) == len(second.runs) == 2 * len(first.runs)
    assert (len(second.variants), second.rounds) == (1, 2)
    other = ["4-4" if word == "1-1" else word for word in PART]
    assert main([*other, "--rounds", "1", "--resume", str(out)]) == 0
    assert [item.name for item in Results.load_file(out).variants] == ["1-1", "4-4"]


def test_what_was_disturbed_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    assert main([*PART, "--rounds", "2", "--out", str(out)]) == 0
    results = Results.load_file(out)
    quiet = [replace(run, other_load=0.0) for run in results.runs]
    results.runs = [replace(quiet[0], other_load=0.5), *quiet[1:]]
    results.save(out)
    assert main([*PART, "--rounds", "2", "--resume", str(out), "--redo"]) == 0
    again = Results.load_file(out)
    assert again.runs[:-1] == quiet[1:]
    assert again.runs[-1].round == 0


def test_what_another_commit_did_is_not_mixed_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.json"
    assert main([*PART, "--rounds", "1", "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    content["source"]["commit"] = "another"
    out.write_text(json.dumps(content))
    before = out.read_text()
    assert main([*PART, "--rounds", "2", "--resume", str(out)]) == 2
    assert "another source" in capsys.readouterr().err
    assert out.read_text() == before


def test_only_the_peers_that_a_bar_names() -> None:
    plan = make_plan([], [], "*", 5, quick=False, goals_only=True)
    peers = {
        (case.subject, case.variant.name, case.peer)
        for group in plan.groups()
        for case in group
        if not case.peer.startswith("limit:")
    }
    bulk = {peer for _, variant, peer in peers if variant == "numpy 64 MB"}
    assert bulk == {"tines", "stdlib", "torch"}
    assert {peer for _, variant, peer in peers if variant == "map 8"} == {"tines", "stdlib"}
    assert not any(variant == "batches" for _, variant, _ in peers), "no bar is about it"


def test_the_time_that_it_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue_small", "--goals", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("queue_small 1-1: ")
    assert lines[-1].startswith("all: ")
    assert lines[-1].endswith(" min")


def test_what_is_measured_is_compiled_as_if_it_were_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tines"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "benchmarks").mkdir()
    spec = SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(runner.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    runner.compile_sources()
    assert list((package / "__pycache__").glob("__init__.*.pyc"))


def test_only_what_matters_has_all_rounds() -> None:
    plan = make_plan(["queue_bulk", "memory"], [], "*", 5, quick=False)
    rounds = {
        (case.variant.name, case.peer): case.rounds for group in plan.groups() for case in group
    }
    for peer in ("tines", "stdlib", "torch", "limit:memcpy"):
        assert rounds["numpy 64 MB", peer] == 5
    assert rounds["numpy 64 MB", "billiard"] == 3
    assert rounds["imap", "pebble"] == 1
    assert ("numpy 1 MB", "billiard") not in rounds, "left out: what 64 MB says is enough"
    named = make_plan(["queue_bulk"], ["billiard"], "numpy 1 MB", 5, quick=False)
    assert [case.rounds for group in named.groups() for case in group] == [5, 5, 5]
    by_pattern = make_plan(["queue_bulk"], ["billiar*"], "numpy 1 MB", 5, quick=False)
    assert list(by_pattern.groups()) == []


def test_no_bar_is_without_its_rounds() -> None:
    plan = make_plan([], [], "*", 5, quick=False)
    rounds = {
        (case.subject, case.variant.name, case.peer): case.rounds
        for group in plan.groups()
        for case in group
    }
    for goal in goals.GOALS:
        for variant in filter(None, (goal.variant, goal.against)):
            for peer in filter(None, (goal.peer, goal.versus)):
                assert rounds[goal.subject, variant, peer] == 5, goal


def test_a_peer_that_takes_long_is_not_run_again_unless_it_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(case: Case, number: int, limit: float | None) -> Run:
        status, metrics = Status.OK, {"rate": 1.0}
        took = runner.LONG + 1
        return Run(case.subject, case.variant.name, case.peer, number, status, metrics, "", took)

    monkeypatch.setattr(runner, "run_case", slow)
    plan = make_plan(["queue_small"], [], "1-1", 5, quick=False)
    often = Counter(run.peer for run in runner.run_plan(plan, cache_line=lambda: 100.0))
    assert (often["tines"], often["faster_fifo"], often["torch"]) == (5, 5, 1)
