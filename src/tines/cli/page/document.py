"""The page as a whole: its head, and its sections in the order in which they are of use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tines.cli.page import charts
from tines.cli.page.html import details, section, table, text
from tines.cli.page.series import BINS, Series, collect
from tines.cli.page.style import STYLE
from tines.cli.report_tables import advice_lines, headline, tables
from tines.tracing.report import Failure, Report

if TYPE_CHECKING:
    from tines.tracing.events import Event

__all__ = ["document", "write"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the browser is to load for this page: nothing."""


def write(path: Path, content: Event, report: Report, *, name: str, top: int) -> None:
    """Write the page.

    Args:
        path: Where to.
        content: The trace.
        report: What was worked out from it.
        name: What the trace is called.
        top: How many of the slowest tasks to show.

    Raises:
        OSError: it cannot be written.
    """
    page = document(content, report, name=name, top=top)
    with open(path, "w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(page)


def document(content: Event, report: Report, *, name: str, top: int) -> str:
    """Return the page; see :func:`write`."""
    series = collect(content)
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(content["otherData"]["started"]))
    by_title = {each.title: each for each in tables(report, top)}

    def shown(title: str) -> str:
        found = by_title.get(title)
        return "" if found is None else table(found.columns, found.rows, found.numbers)

    advice = "".join(f"<li>{text(line)}</li>" for line in advice_lines(report))
    notes = "".join(f"<p class='note'>{text(note)}</p>" for note in report.notes)
    return "".join(
        (
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            "<meta name='viewport' content='width=device-width, initial-scale=1'>"
            "<meta name='color-scheme' content='light dark'>"
            f"<title>{text(name)}: tines report</title><style>{STYLE}</style></head>\n<body>"
            f"<header><h1>{text(name)}</h1><p>{text(started)}: {text(headline(report))}</p>"
            "</header><main>\n",
            section("What to change", f"<ul class='advice'>{advice}</ul>", notes),
            section("Timeline by worker", charts.timeline(series), _outcomes(), note=_most(series)),
            section("Utilisation", _utilisation(report), _busy(series)),
            section("Task times", charts.histogram(series.histogram)),
            section("Tasks that waited for a worker", _queues(series)),
            section(
                "Memory",
                charts.lines("memory over time", "MB", series.memory, series.seconds, divisor=1e6),
                note="What processes have to themselves, without shared memory.",
            ),
            section("Slowest tasks", shown("Slowest tasks")),
            section("Failures", _failures(report.failures, report.raised)),
            section("Retries and deaths", _troubles(report), shown("Deaths")),
            section("Pools", shown("Pools")),
            section("Workers", shown("Workers")),
            section("Functions", shown("Functions")),
            "</main></body></html>\n",
        )
    )


def _outcomes() -> str:
    marks = (
        "<li>\N{MULTIPLICATION SIGN} a worker died, or was stopped</li>"
        "<li>\N{BLACK UP-POINTING TRIANGLE} a task was tried again</li>"
    )
    legend = "".join(f"<li><i class='{kind}'></i>{kind}</li>" for kind in charts.OUTCOMES)
    return f"<ul class='legend'>{legend}{marks}</ul>"


def _most(series: Series) -> str:
    more = len(series.lanes) - charts.MOST_LANES
    return (
        f"The first {charts.MOST_LANES} workers; {more} more are in the table." if more > 0 else ""
    )


def _utilisation(report: Report) -> str:
    rows = []
    for worker in report.workers:
        ready = worker.ready or 1.0
        cpu = min(worker.cpu, worker.busy)
        core_wait = min(worker.core_wait, worker.busy - cpu)
        parts = (
            ("returned", "computing", cpu / ready),
            ("unfinished", "in tasks that wait for a core", core_wait / ready),
            ("idling", "in tasks that wait", (worker.busy - cpu - core_wait) / ready),
            ("pickling", "pickling and sending", worker.pickling / ready),
            ("alive", "waiting for tasks", worker.waiting / ready),
        )
        rows.append((f"{worker.name} ({worker.pid})", parts))
    if not rows:
        return ""
    legend = "".join(f"<li><i class='{kind}'></i>{what}</li>" for kind, what, _ in rows[0][1])
    return f"{charts.shares(rows)}<ul class='legend'>{legend}</ul>"


def _busy(series: Series) -> str:
    if not any(series.busy):
        return ""
    curve = {"workers that run tasks": _at_times(series.busy, series.seconds)}
    return charts.lines("busy workers over time", "workers", curve, series.seconds)


def _queues(series: Series) -> str:
    curves = {name: _at_times(bins, series.seconds) for name, bins in series.queues.items()}
    return charts.lines("depth of queues over time", "tasks", curves, series.seconds)


def _at_times(bins: list[float], seconds: float) -> list[tuple[float, float]]:
    return [((index + 0.5) * seconds / BINS, value) for index, value in enumerate(bins)]


def _failures(failures: tuple[Failure, ...], raised: int) -> str:
    shown = "".join(
        details(f"{each.error} in {each.call or 'a task'}, process {each.pid}", each.traceback)
        for each in failures
    )
    more = raised - len(failures)
    if failures and more > 0:
        shown += f"<p class='note'>The first of each worker; {more:,} more are counted only.</p>"
    return shown


def _troubles(report: Report) -> str:
    counts = (
        ("tried again", report.retries),
        ("timed out", report.timeouts),
        ("cancelled", report.cancelled),
        ("died", len(report.deaths)),
    )
    if not any(count for _, count in counts):
        return ""
    return f"<p>{text(', '.join(f'{count} {what}' for what, count in counts if count))}</p>"
