"""What a report says, as texts: its headline, its tables, and what to change.

A terminal shows these (``report.py``), and so does the page (``page/``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tines.cli.figures import took

if TYPE_CHECKING:
    from tines.tracing.report import Report

__all__ = ["Table", "advice_lines", "headline", "tables"]


@dataclass(frozen=True)
class Table:
    """A section: a title, the names of its columns, and rows of texts. Numbers are on the right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numbers: int = 1
    """From which column on they are numbers."""


def headline(report: Report) -> str:
    """Return the report in a line."""
    tasks = sum(worker.tasks for worker in report.workers)
    items = sum(worker.items for worker in report.workers)
    troubles = [
        f"{count} {name}"
        for name, count in (
            ("died", len(report.deaths)),
            ("tried again", report.retries),
            ("timed out", report.timeouts),
            ("cancelled", report.cancelled),
            ("raised", report.raised),
            ("records dropped", report.dropped),
        )
        if count
    ]
    parts = [
        f"{report.seconds:.3f} s, {report.processes} processes, {len(report.workers)} workers",
        f"{items:,} items in {tasks:,} tasks",
        *([", ".join(troubles)] if troubles else []),
    ]
    return "; ".join(parts)


def tables(report: Report, top: int) -> list[Table]:
    """Return its tables, without those that are empty."""
    tables = [_pools(report), _workers(report), _functions(report, top), _slowest(report, top)]
    if report.deaths:
        rows = [(each.name, str(each.pid), each.how, f"{each.at:.3f}") for each in report.deaths]
        tables.append(Table("Deaths", ("process", "pid", "how", "at s"), rows, numbers=3))
    return [table for table in tables if table.rows]


def _pools(report: Report) -> Table:
    columns = (
        "pool",
        "transport",
        "workers",
        "items",
        "items/s",
        "took",
        "active",
        "ideal",
        "imbalance",
    )
    rows = [
        (
            str(pool.pool),
            pool.transport,
            f"{pool.processes}",
            f"{pool.items:,}",
            f"{pool.throughput:,.0f}",
            took(pool.elapsed),
            took(pool.active),
            took(pool.ideal),
            f"{pool.imbalance:.2f}",
        )
        for pool in report.pools
    ]
    return Table("Pools", columns, rows, numbers=2)


def _workers(report: Report) -> Table:
    columns = (
        "worker",
        "end",
        "pid",
        "tasks",
        "items",
        "busy",
        "on CPU",
        "pickling",
        "waiting",
        "start-up",
    )
    rows = [
        (
            worker.name,
            worker.end,
            str(worker.pid),
            f"{worker.tasks:,}",
            f"{worker.items:,}",
            _share(worker.busy, worker.ready),
            _share(worker.cpu, worker.ready),
            _share(worker.pickling, worker.ready),
            _share(worker.waiting, worker.ready),
            took(worker.startup),
        )
        for worker in report.workers
    ]
    return Table("Workers", columns, rows, numbers=2)


def _functions(report: Report, top: int) -> Table:
    columns = ("function", "tasks", "items", "total", "each", "longest")
    rows = [
        (
            each.name,
            f"{each.tasks:,}",
            f"{each.items:,}",
            took(each.seconds),
            took(each.seconds / max(1, each.items)),
            took(each.longest),
        )
        for each in report.functions[:top]
    ]
    return Table("Functions", columns, rows)


def _slowest(report: Report, top: int) -> Table:
    columns = ("slowest tasks", "outcome", "took", "items", "attempt", "pid", "at s")
    rows = [
        (
            task.call or task.function,
            task.outcome,
            took(task.seconds),
            f"{task.items:,}",
            str(task.attempt),
            str(task.pid),
            f"{task.at:.3f}",
        )
        for task in report.slowest[:top]
    ]
    return Table("Slowest tasks", columns, rows, numbers=2)


def advice_lines(report: Report) -> list[str]:
    """Return what to change, or why there is nothing."""
    if not report.workers:
        return [
            "No pool was made while the trace was on; pools that were there before are not traced."
        ]
    if report.advice:
        return [each.text for each in report.advice]
    from tines.tracing.advice import ENOUGH

    active = max((pool.active for pool in report.pools), default=0.0)
    if active < ENOUGH:
        return [f"Nothing: the pools worked for {took(active)} only, which says little."]
    return ["Nothing: the workers were busy."]


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"
