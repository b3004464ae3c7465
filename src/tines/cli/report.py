"""``tines report``: what a trace says about where the time went, and what to change.

Tables by rich where that is installed and the output is a terminal, else plain text with the same
content; ``--json`` for programs.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from tines.tracing.report import Report

__all__ = ["advice_lines", "headline", "render", "run", "tables"]

BROKEN = 2


@dataclass(frozen=True)
class Table:
    """A section: a title, the names of its columns, and rows of texts. Numbers are on the right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numbers: int = 1
    """From which column on they are numbers."""


def run(
    path: str, *, as_json: bool, recover: bool = False, top: int = 10, html: str | None = None
) -> int:
    """Print the report of a trace; return the exit code.

    Args:
        path: The trace.
        as_json: Whether to print it for programs.
        recover: First make the trace from what a killed program has left.
        top: How many of the slowest tasks to print.
        html: Write it as a page to this file instead.
    """
    from tines.tracing import analysis

    try:
        if recover:
            from tines.tracing.recovery import recover as make

            made = make(Path(path))
            print(f"recovered {made}", file=sys.stderr)
            path = str(made)
        content = analysis.read(Path(path))
        report = analysis.analyse(content)
    except OSError as error:
        return _fail(f"cannot read {path}: {error.strerror or error}{_hint(Path(path))}")
    except ValueError as error:
        return _fail(str(error))
    if html is not None:
        from tines.cli import page

        try:
            page.write(Path(html), content, report, name=Path(path).name, top=top)
        except OSError as error:
            return _fail(f"cannot write {html}: {error.strerror or error}")
        print(f"wrote {html}", file=sys.stderr)
    if as_json:
        print(json.dumps(as_data(report), indent=2))
        return 0
    if html is not None:
        return 0
    console = _console()
    if console is None:
        print("\n".join(_plain(report, top)))
    else:
        render(report, console, top)
    return 0


def as_data(report: Report) -> dict[str, object]:
    """Return the report for ``--json``."""
    data = dataclasses.asdict(report)
    for pool, share in zip(data["pools"], report.pools):
        pool["imbalance"] = share.imbalance
        pool["throughput"] = share.throughput
    return data


def render(report: Report, console: Console, top: int = 10) -> None:
    """Print with rich."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    console.print(Text(headline(report), style="bold"))
    for table in tables(report, top):
        rich_table = RichTable(
            title=table.title, title_justify="left", title_style="bold cyan", box=box.SIMPLE_HEAD
        )
        for index, column in enumerate(table.columns):
            right = index >= table.numbers
            rich_table.add_column(column, justify="right" if right else "left", overflow="fold")
        for row in table.rows:
            rich_table.add_row(*map(Text, row))
        console.print(rich_table)
    console.print(Text("What to change", style="bold cyan"))
    for line in advice_lines(report):
        console.print(Text(f"* {line}"))
    for note in report.notes:
        console.print(Text(f"({note})", style="dim"))


def _plain(report: Report, top: int) -> list[str]:
    lines = [headline(report), ""]
    for table in tables(report, top):
        widths = [max(map(len, column)) for column in zip(table.columns, *table.rows)]
        lines.append(table.title)
        for row in (table.columns, *table.rows):
            cells = (
                cell.rjust(width) if index >= table.numbers else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(row, widths))
            )
            lines.append(("  " + "  ".join(cells)).rstrip())
        lines.append("")
    lines.append("What to change")
    lines += [f"* {line}" for line in advice_lines(report)]
    lines += [f"({note})" for note in report.notes]
    return lines


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
            _time(pool.elapsed),
            _time(pool.active),
            _time(pool.ideal),
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
            _time(worker.startup),
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
            _time(each.seconds),
            _time(each.seconds / max(1, each.items)),
            _time(each.longest),
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
            _time(task.seconds),
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
        return [f"Nothing: the pools worked for {_time(active)} only, which says little."]
    return ["Nothing: the workers were busy."]


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.0f} us"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _console() -> Console | None:
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()


def _hint(path: Path) -> str:
    from tines.tracing.session import WORK

    left = sorted(path.parent.glob(f"{path.name}{WORK}*")) if path.parent.is_dir() else []
    if not left:
        return ""
    return f"; a program that was killed has left {left[-1]}: add --recover"


def _fail(text: str) -> int:
    print(f"tines report: {text}", file=sys.stderr)
    return BROKEN
