"""Statistics, the JSON, and what is generated from it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from benchmarks.cli import main
from benchmarks.model import Metric, Run, Status
from benchmarks.numbers import Estimate, percentile
from benchmarks.peers import catalogue, select
from benchmarks.plan import make_plan
from benchmarks.report import documents, figures, tables
from benchmarks.results import Results, VariantInfo
from benchmarks.summary import tables as summarise

from benchmarks import goals, subjects

RATE = Metric("rate", "messages/s", "higher")
INFO = VariantInfo("queue_small", "Queue", "Text.", "1-1", "one to one", (RATE,))


def one_run(peer: str, number: int, rate: float, **more: object) -> Run:
    fields: dict[str, object] = {"status": Status.OK, "metrics": {"rate": rate}, **more}
    return Run("queue_small", "1-1", peer, number, **fields)  # type: ignore[arg-type]


def results(*runs: Run, started: str = "2026-01-01T00:00:00Z", quick: bool = False) -> Results:
    return Results(
        started=started,
        command=["queue_small"],
        rounds=3,
        quick=quick,
        machine={"cpu": "A CPU", "cores": 2},
        source={"commit": "0123456789abcdef", "changed": False},
        versions={"stdlib": "3.11"},
        unavailable={"ray": "No module named 'ray'"},
        titles={"tines": "tines", "stdlib": "multiprocessing"},
        variants=[INFO],
        runs=list(runs),
    )


def three(peer: str, *rates: float) -> list[Run]:
    return [one_run(peer, number, rate) for number, rate in enumerate(rates)]


class TestNumbers:
    def test_the_median_withstands_an_outlier(self) -> None:
        estimate = Estimate.of([10.0, 11.0, 500.0, 9.0, 10.5])
        assert estimate.median == 10.5
        assert (estimate.low, estimate.high, estimate.samples) == (9.0, 500.0, 5)

    def test_spread_is_half_the_range_over_the_median(self) -> None:
        assert Estimate.of([90.0, 100.0, 130.0]).spread == pytest.approx(0.2)

    def test_no_samples_are_refused(self) -> None:
        with pytest.raises(ValueError, match="values"):
            Estimate.of([])
        with pytest.raises(ValueError, match="values"):
            percentile([], 0.5)

    @pytest.mark.parametrize(("part", "wanted"), [(0, 1), (0.5, 51), (0.99, 100), (1, 100)])
    def test_percentiles(self, part: float, wanted: float) -> None:
        assert percentile(list(range(100, 0, -1)), part) == wanted

    def test_ratios_say_how_many_times_better(self) -> None:
        assert RATE.ratio(600, 100) == 6
        assert Metric("t", "us", "lower").ratio(10, 80) == 8
        assert math.isinf(RATE.ratio(1, 0))

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0, "0"),
            (0.0523, "0.0523"),
            (1.239, "1.24"),
            (118.6, "119"),
            (8400, "8,400"),
            (203_400, "203 k"),
            (1_240_000, "1.24 M"),
            (12_800_000, "12.8 M"),
            (0.00001234, "0.000012"),
        ],
    )
    def test_figures(self, value: float, text: str) -> None:
        assert figures.number(value) == text


class TestSummary:
    def test_medians_and_ratio_to_the_standard_library(self) -> None:
        runs = [*three("stdlib", 90, 100, 110), *three("tines", 500, 650, 700)]
        table = summarise(results(*runs))[0]
        assert [row.peer for row in table.rows] == ["tines", "stdlib"]
        assert table.rows[0].ratio == 6.5

    def test_failed_runs_do_not_count_but_are_told(self) -> None:
        bad = one_run("tines", 1, 0, status=Status.HANG, metrics={}, detail="no result within 3 s")
        table = summarise(results(one_run("tines", 0, 100), bad))[0]
        assert table.rows[0].estimates["rate"].samples == 1
        assert table.rows[0].notes == ("hang 1 of 2: no result within 3 s",)
        assert "hang 1 of 2" in tables.variant_table(table)

    def test_a_peer_without_any_figure_comes_last(self) -> None:
        wrong = one_run("fast", 0, 0, status=Status.WRONG, metrics={}, detail="lost")
        table = summarise(results(wrong, *three("stdlib", 1, 2, 3)))[0]
        assert [row.peer for row in table.rows] == ["stdlib", "fast"]

    def test_other_load_is_told(self) -> None:
        disturbed = one_run("tines", 1, 100, other_load=0.7)
        table = summarise(results(one_run("tines", 0, 100, other_load=0.01), disturbed))[0]
        assert table.rows[0].disturbed == 1
        assert "other load in 1 of 2" in tables.variant_table(table)


class TestGoals:
    GOAL = goals.Goal("queue_small", "1-1", 6)

    @pytest.mark.parametrize(("rate", "reached"), [(599.0, False), (600.0, True)])
    def test_a_bar_is_reached_or_not(self, rate: float, reached: bool) -> None:
        made = summarise(results(*three("stdlib", 100), *three("tines", rate)))
        assert goals.check(made, [self.GOAL])[0].reached is reached

    def test_what_was_not_measured_is_not_reached(self) -> None:
        made = summarise(results(*three("stdlib", 100)))
        verdict = goals.check(made, [self.GOAL])[0]
        assert (verdict.measured, verdict.reached) == (None, False)
        assert "not measured" in tables.goal_table([verdict])

    def test_an_absolute_bar(self) -> None:
        low = Metric("makespan", "x ideal", "lower")
        info = VariantInfo("skew", "Skew", "", "heavy tail", "tail", (low,))
        one = results()
        one.variants = [info]
        one.runs = [Run("skew", "heavy tail", "tines", 0, Status.OK, {"makespan": 1.05})]
        goal = goals.Goal("skew", "heavy tail", 1.06, versus="")
        assert goals.check(summarise(one), [goal])[0].reached
        one.runs = [Run("skew", "heavy tail", "tines", 0, Status.OK, {"makespan": 1.07})]
        assert not goals.check(summarise(one), [goal])[0].reached

    @pytest.mark.parametrize(("large", "reached"), [(105.0, True), (120.0, False)])
    def test_a_bar_between_two_variants(self, large: float, reached: bool) -> None:
        metric = Metric("median", "ms", "lower")
        one = results()
        one.variants = [
            VariantInfo("startup", "Start-up", "", name, name, (metric,))
            for name in ("small", "large")
        ]
        one.runs = [
            Run("startup", name, "tines", 0, Status.OK, {"median": value})
            for name, value in (("small", 100.0), ("large", large))
        ]
        goal = goals.Goal("startup", "large", 0.9, versus="tines", against="small")
        assert goals.check(summarise(one), [goal])[0].reached is reached

    def test_every_goal_names_a_variant_a_metric_and_peers_that_exist(self) -> None:
        known = catalogue()
        for goal in goals.GOALS:
            variants = {item.name: item for item in subjects.find(goal.subject).variants}
            variant = variants[goal.variant]
            for peer in filter(None, (goal.peer, goal.versus)):
                assert variant.needs <= known[peer].offers, goal
            assert not goal.against or goal.against in variants
            if goal.metric:
                assert goal.metric in {metric.name for metric in variant.metrics}


class TestJson:
    def test_round_trip(self, tmp_path: Path) -> None:
        made = results(*three("stdlib", 1, 2, 3), one_run("tines", 0, 4, other_load=0.5))
        path = tmp_path / "one.json"
        made.save(path)
        assert Results.load_file(path) == made
        assert [item.name for item in tmp_path.iterdir()] == ["one.json"]

    @pytest.mark.parametrize("text", ["{}", "[]", '{"schema": 99}', "not json", '{"schema": 1}'])
    def test_anything_else_is_refused_by_name(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "other.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=r"other\.json"):
            Results.load_file(path)


class TestDocuments:
    def test_only_the_part_between_the_markers_changes(self) -> None:
        text = f"before\n{documents.START}\nold\n{documents.END}\nafter\n"
        once = documents.replace_between(text, "new")
        assert once == f"before\n{documents.START}\nnew\n{documents.END}\nafter\n"
        assert documents.replace_between(once, "new") == once

    @pytest.mark.parametrize(
        "text",
        [
            "none",
            documents.START,
            documents.END + documents.START,
            documents.START + documents.START + documents.END,
        ],
    )
    def test_missing_markers_are_an_error(self, text: str) -> None:
        with pytest.raises(ValueError, match="benchmarks:start"):
            documents.replace_between(text, "new")

    def test_the_newest_full_run_of_each_subject_is_used(self) -> None:
        old = results(*three("tines", 1), started="2026-01-01T00:00:00Z")
        new = results(*three("tines", 2), started="2026-02-01T00:00:00Z")
        quick = results(*three("tines", 3), started="2026-03-01T00:00:00Z", quick=True)
        chosen = documents.newest_per_subject([quick, new, old])
        assert chosen["queue_small"][0] is new

    def test_pages_and_charts(self, tmp_path: Path) -> None:
        markers = f"# Title\n{documents.START}\n{documents.END}\n"
        (tmp_path / "docs").mkdir()
        for name in ("README.md", "docs/benchmarks.md"):
            (tmp_path / name).write_text(markers)
        hang = one_run("a<b", 0, 0, status=Status.HANG, metrics={}, detail="no | result")
        made = results(*three("stdlib", 90, 100, 110), *three("tines", 640, 650, 660), hang)
        written = documents.write([made], tmp_path)
        assert len(written) == 4
        page = (tmp_path / "docs/benchmarks.md").read_text()
        assert "| **tines** | 650 | ±2 % | 6.5x |" in page
        assert "no \\| result" in page
        assert "0123456789ab" in page
        assert "| ray | No module named 'ray' |" in page
        readme = (tmp_path / "README.md").read_text()
        assert "(docs/benchmarks/headline.svg)" in readme
        assert "| Queue: one to one | messages/s | 650 | 100 | 6.5x | - |" in readme
        chart = ET.parse(tmp_path / "docs/benchmarks/queue_small.svg").getroot()
        namespace = "{http://www.w3.org/2000/svg}"
        bars = chart.findall(f"{namespace}rect")
        widths = [float(bar.get("width", 0)) for bar in bars]
        assert widths[0] / widths[1] == pytest.approx(6.5, rel=0.02)
        texts = [item.text for item in chart.findall(f"{namespace}text")]
        assert "a<b" in texts
        assert "hang 1 of 1" in texts

    def test_no_full_run_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no full run"):
            documents.write([results(*three("tines", 1), quick=True)], tmp_path)


class TestChoosing:
    def test_beginnings_of_subjects_and_patterns_of_peers(self) -> None:
        plan = make_plan(["queue"], ["stdlib*", "faster_fifo"], "*", 5, quick=False)
        assert [subject.name for subject in plan.subjects] == ["queue_small", "queue_bulk"]
        assert "stdlib_pipe" in plan.peers
        assert plan.peers[-1] == "faster_fifo"

    def test_limits_run_beside_the_peers_that_can(self) -> None:
        plan = make_plan(["queue_small"], ["stdlib_pipe", "stdlib"], "*", 1, quick=False)
        groups = list(plan.groups())
        assert [case.peer for case in groups[0]] == ["limit:pickle", "stdlib_pipe", "stdlib"]
        assert [case.peer for case in groups[1]] == ["limit:pickle", "stdlib"]

    def test_quick_has_its_own_parameters(self) -> None:
        plan = make_plan(["queue_small"], ["stdlib"], "*", 1, quick=True)
        groups = list(plan.groups())
        assert [group[0].variant.name for group in groups] == ["1-1", "4-4"]
        assert groups[0][0].params["seconds"] < 1

    def test_quick_compares_start_methods_in_start_up_only(self) -> None:
        plan = make_plan(["pool", "startup"], [], "*", 1, quick=True)
        for group in plan.groups():
            spawned = any(case.peer.endswith("_spawn") for case in group)
            assert spawned is (group[0].subject == "startup")

    @pytest.mark.parametrize("arguments", [["wrong"], ["--peers", "wrong"], ["--rounds", "-1"]])
    def test_bad_arguments(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(arguments) == 2
        assert arguments[-1] in capsys.readouterr().err

    def test_every_adapter_has_a_name_of_its_own(self) -> None:
        for name, peer in catalogue().items():
            assert peer.name == name
            assert peer.title
            assert peer.offers
        assert select(["*"]) == list(catalogue())
