"""``tines report``: what a trace says about where the time went, and what to change.

Tables by rich where that is installed and the output is a terminal, else plain text with the same
content; ``--json`` for programs.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tines.cli.report_tables import advice_lines, headline, tables

if TYPE_CHECKING:
    from rich.console import Console

    from tines.tracing.report import Report

__all__ = ["render", "run"]

BROKEN = 2


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
