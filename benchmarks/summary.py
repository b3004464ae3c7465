"""From single runs to cells: one for each variant, peer and metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.model import Metric, Run, Status
from benchmarks.numbers import Estimate
from benchmarks.peers import BASELINE
from benchmarks.results import Results, VariantInfo

__all__ = ["NOISE", "Row", "Table", "is_disturbed", "tables"]

NOISE = 0.2
"""Cores busy with something else from which a run counts as disturbed."""

LIMIT = "limit:"
OWN_AND_BASE = ("tines", BASELINE)


def is_disturbed(run: Run) -> bool:
    """Whether other programs took enough of the machine to matter; unknown counts as no."""
    return run.other_load is not None and run.other_load >= NOISE


@dataclass(frozen=True)
class Row:
    """All runs of one peer in one variant.

    Attributes:
        estimates: By metric; empty if no run was good.
        ratio: Times better than the standard library in the first metric.
        notes: What went wrong, for people.
        runs: How many rounds it took part in, whatever came of them.
        disturbed: How many runs had other load beside them.
    """

    peer: str
    title: str
    estimates: dict[str, Estimate]
    ratio: float | None
    notes: tuple[str, ...]
    runs: int
    disturbed: int

    @property
    def is_limit(self) -> bool:
        return self.peer.startswith(LIMIT)


@dataclass(frozen=True)
class Table:
    """One variant: its rows from best to worst, limits apart; those without a figure at the end."""

    info: VariantInfo
    rows: tuple[Row, ...]
    limits: tuple[Row, ...]

    @property
    def primary(self) -> Metric:
        return self.info.metrics[0]

    def row(self, peer: str) -> Row | None:
        """The row of one peer or limit."""
        for row in (*self.rows, *self.limits):
            if row.peer == peer:
                return row
        return None

    def best_other(self) -> Row | None:
        """The best row that is neither tines nor the standard library."""
        for row in self.rows:
            if self.primary.name in row.estimates and not row.peer.startswith(OWN_AND_BASE):
                return row
        return None

    def median(self, peer: str, metric: str) -> float | None:
        """One figure, if it was measured."""
        row = self.row(peer)
        return row.estimates[metric].median if row and metric in row.estimates else None


def _notes(runs: list[Run]) -> tuple[str, ...]:
    notes = []
    bad = [run for run in runs if run.status is not Status.OK]
    for status, count in Counter(run.status for run in bad).items():
        detail = next(run.detail for run in bad if run.status is status)
        often = "" if status is Status.UNSUPPORTED else f" {count} of {len(runs)}"
        notes.append(f"{status.value}{often}: {detail}")
    left = max(run.left_behind for run in runs)
    if left:
        notes.append(f"left {left} process{'es' if left > 1 else ''} running")
    return tuple(notes)


def _row(runs: list[Run], info: VariantInfo, title: str, base: float | None) -> Row:
    good = [run for run in runs if run.status is Status.OK]
    estimates = {
        metric.name: Estimate.of([run.metrics[metric.name] for run in good])
        for metric in info.metrics
        if good and all(metric.name in run.metrics for run in good)
    }
    primary = info.metrics[0]
    own = estimates.get(primary.name)
    ratio = primary.ratio(own.median, base) if own and base is not None else None
    disturbed = sum(is_disturbed(run) for run in runs)
    return Row(runs[0].peer, title, estimates, ratio, _notes(runs), len(runs), disturbed)


def _base(runs: dict[str, list[Run]], metric: Metric) -> float | None:
    good = [run for run in runs.get(BASELINE, ()) if run.status is Status.OK]
    return Estimate.of([run.metrics[metric.name] for run in good]).median if good else None


def _sorted(rows: Iterable[Row], metric: Metric) -> tuple[Row, ...]:
    sign = -1 if metric.better == "higher" else 1

    def key(row: Row) -> tuple[bool, float]:
        own = row.estimates.get(metric.name)
        return (own is None, sign * own.median if own else 0.0)

    return tuple(sorted(rows, key=key))


def tables(results: Results) -> list[Table]:
    """Summarise one results file, variant by variant, in the order of the run."""
    made = []
    for info in results.variants:
        by_peer: dict[str, list[Run]] = {}
        for run in results.runs:
            if (run.subject, run.variant) == (info.subject, info.name):
                by_peer.setdefault(run.peer, []).append(run)
        if not by_peer:
            continue
        base = _base(by_peer, info.metrics[0])
        rows = [
            _row(runs, info, results.titles.get(peer, peer), base) for peer, runs in by_peer.items()
        ]
        rows = list(_sorted(rows, info.metrics[0]))
        limits = tuple(row for row in rows if row.is_limit)
        made.append(Table(info, tuple(row for row in rows if not row.is_limit), limits))
    return made
