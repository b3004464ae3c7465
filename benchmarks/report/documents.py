"""Writes the generated parts of ``docs/benchmarks.md`` and ``README.md``, and the charts.

Only what is between the markers is replaced. For each subject the newest full run that contains it
is used; quick runs never are.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import goals, subjects
from benchmarks.model import Run
from benchmarks.numbers import percentile
from benchmarks.peers import BASELINE
from benchmarks.report import curves, figures, svg, tables
from benchmarks.results import Results
from benchmarks.summary import NOISE, Row, Table
from benchmarks.summary import tables as summarise

__all__ = ["END", "START", "machine_line", "newest_per_subject", "replace_between", "write"]

START, END = "<!-- benchmarks:start -->", "<!-- benchmarks:end -->"
CHARTS = Path("docs", "benchmarks")
HEADLINE = "headline.svg"
BARS = 8
"""How many peers a chart shows of each variant."""

README_ROWS = (
    ("queue_small", "1-1"),
    ("queue_small", "4-4"),
    ("queue_bulk", "bytes 1 MB"),
    ("queue_bulk", "numpy 64 MB"),
    ("latency", "ping-pong"),
    ("pool", "apply 2"),
    ("pool", "map1 2"),
    ("pool", "imap_unordered 2"),
    ("arrays", "arguments"),
    ("startup", "pool"),
)
"""What the README's table shows, also where another library is ahead; all rows are on the page."""

HEADLINES = (
    ("queue_small", "1-1"),
    ("queue_bulk", "numpy 64 MB"),
    ("latency", "ping-pong"),
    ("pool", "apply 2"),
    ("pool", "map1 2"),
    ("arrays", "arguments"),
)
"""What the README's chart shows: tines, the standard library, and the best of the others."""

Source = tuple[Results, list[Table]]


def newest_per_subject(results: Iterable[Results]) -> dict[str, Source]:
    """For each subject the newest run that is not quick, and its tables."""
    chosen: dict[str, Source] = {}
    for one in sorted(results, key=lambda item: item.started):
        if one.quick:
            continue
        by_subject: dict[str, list[Table]] = {}
        for table in summarise(one):
            by_subject.setdefault(table.info.subject, []).append(table)
        chosen.update({name: (one, made) for name, made in by_subject.items()})
    return {name: chosen[name] for name in subjects.MODULES if name in chosen}


def replace_between(text: str, new: str) -> str:
    """Put ``new`` between the markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, found, rest = text.partition(START)
    _, closed, after = rest.partition(END)
    if not found or not closed or START in rest or END in after:
        raise ValueError(f"the text must contain {START} and, after it, {END}, once each")
    return f"{before}{START}\n{new.strip()}\n{END}{after}"


def _bar(row: Row, metric: str) -> svg.Bar:
    own = row.estimates.get(metric)
    mine = row.peer.startswith("tines")
    if own is None:
        reason = row.notes[0].split(":")[0] if row.notes else "no figure"
        return svg.Bar(row.title, None, reason, mine)
    text = figures.number(own.median)
    if row.ratio is not None and row.peer != BASELINE:
        text += f"  ({figures.ratio(row.ratio)})"
    return svg.Bar(row.title, own.median, text, mine, own.low, own.high)


def _group(table: Table, title: str, rows: Iterable[Row]) -> svg.Group:
    direction = "more is better" if table.primary.better == "higher" else "less is better"
    heading = f"{title}: {table.primary.unit}, {direction}".replace("`", "")
    return svg.Group(heading, [_bar(row, table.primary.name) for row in rows])


def _plot(table: Table) -> curves.Plot:
    drawn = []
    for row in table.rows[:BARS]:
        points = [(float(name), known.median) for name, known in row.estimates.items()]
        drawn.append(curves.Curve(row.title, sorted(points), row.peer.startswith("tines")))
    heading = f"{table.info.title}: {table.primary.unit}".replace("`", "")
    return curves.Plot(heading, drawn)


def chart(made: Sequence[Table]) -> str:
    """One subject as a chart: the best peers of each variant, and always the base of the ratios.

    Variants whose metrics are points of a curve are drawn as such.
    """
    if all(metric.name.isdigit() for table in made for metric in table.info.metrics):
        return curves.line_chart(made[0].info.subject_title, [_plot(table) for table in made])
    groups = []
    for table in made:
        known = [row for row in table.rows if not any("unsupported" in note for note in row.notes)]
        shown = known[:BARS] + [row for row in known[BARS:] if row.peer == BASELINE]
        groups.append(_group(table, table.info.title, shown))
    return svg.bar_chart(made[0].info.subject_title, groups)


def headline_chart(chosen: dict[str, Source]) -> str:
    """A few variants with three bars each."""
    groups = []
    for subject, variant in HEADLINES:
        for table in chosen[subject][1] if subject in chosen else ():
            if table.info.name == variant:
                three = (table.row("tines"), table.row(BASELINE), table.best_other())
                title = f"{table.info.subject_title}, {table.info.title}"
                groups.append(_group(table, title, [row for row in three if row]))
    return svg.bar_chart("tines beside multiprocessing and the best of its peers", groups)


def _rounds(runs: Sequence[Run]) -> str:
    """``5 rounds``, or ``3 to 5 rounds`` where not all cases had the same number."""
    often = Counter((run.subject, run.variant, run.peer) for run in runs).values()
    least, most = min(often, default=0), max(often, default=0)
    return f"{most} rounds" if least == most else f"{least} to {most} rounds"


def _cache_line(runs: Iterable[Run]) -> str:
    """How far apart the cores were: the median over the runs, and the range of nine tenths of them."""
    known = [run.cache_line_ns for run in runs if run.cache_line_ns is not None]
    if not known:
        return ""
    low, high = percentile(known, 0.05), percentile(known, 0.95)
    return (
        f", a cache line from core to core and back in {statistics.median(known):.0f} ns "
        f"({low:.0f} to {high:.0f})"
    )


def machine_line(one: Results, runs: Sequence[Run]) -> str:
    machine: dict[str, Any] = one.machine
    source = one.source.get("commit", "")[:12] or "no commit"
    changed = " with changes" if one.source.get("changed") else ""
    virtual = ", virtual machine" if machine.get("virtual") else ""
    return (
        f"{machine.get('cpu', '?')}, {machine.get('cores', '?')} cores{virtual}, "
        f"{machine.get('memory_gb', '?')} GB, {machine.get('system', '?')} "
        f"{machine.get('kernel', '?')}, {machine.get('implementation', 'Python')} "
        f"{machine.get('python', '?')}, commit {source}{changed}, {one.started[:10]}, "
        f"{_rounds(runs)}{_cache_line(runs)}"
    )


def _noise(one: Results, made: Iterable[Table]) -> str:
    rows = [row for table in made for row in (*table.rows, *table.limits)]
    disturbed, runs = sum(row.disturbed for row in rows), sum(row.runs for row in rows)
    if not disturbed:
        return f"No run was disturbed by other load on the machine (under {NOISE:g} cores)."
    return f"{disturbed} of {runs} runs had other load of {NOISE:g} cores or more beside them."


def _versions(sources: Iterable[Source]) -> str:
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for one, _ in sources:
        versions.update(one.versions)
        missing.update(one.unavailable)
    lines = [tables.markdown(["peer", "version"], sorted(versions.items()), left=2)]
    absent = {peer: reason for peer, reason in missing.items() if peer not in versions}
    if absent:
        rows = [(peer, reason) for peer, reason in sorted(absent.items())]
        lines.append("Not measured:\n\n" + tables.markdown(["peer", "why"], rows, left=2))
    return "\n".join(lines)


def page(chosen: dict[str, Source]) -> str:
    """The generated part of the page."""
    parts = []
    for name, (one, made) in chosen.items():
        info = made[0].info
        parts.append(f"## {info.subject_title}\n\n{info.subject_text}\n")
        parts.append(f"![{info.subject_title}](benchmarks/{name}.svg)\n")
        parts += [f"### {table.info.title}\n\n{tables.variant_table(table)}" for table in made]
        runs = [run for run in one.runs if run.subject == name]
        parts.append(f"{machine_line(one, runs)}. {_noise(one, made)}\n")
    everything = [table for _, made in chosen.values() for table in made]
    parts.append(f"## Bars\n\n{tables.goal_table(goals.check(everything))}")
    parts.append(f"## Versions\n\n{_versions(chosen.values())}")
    return "\n".join(parts)


def headlines(chosen: dict[str, Source]) -> str:
    """The generated part of the README."""
    made = [
        table
        for subject, variant in README_ROWS
        for table in (chosen[subject][1] if subject in chosen else ())
        if table.info.name == variant
    ]
    sources = [chosen[name][0] for name in dict(README_ROWS) if name in chosen]
    runs = list({machine_line(one, one.runs): None for one in sources})
    chart = f"![tines and its peers]({(CHARTS / HEADLINE).as_posix()})"
    return f"{chart}\n\n{tables.headline_table(made)}\nMedians; {'; '.join(runs)}."


def write(results: Iterable[Results], root: Path) -> list[Path]:
    """Write charts, page and README part below ``root``; return what was written.

    Raises:
        ValueError: there is no full run, or a document has no markers.
    """
    chosen = newest_per_subject(results)
    if not chosen:
        raise ValueError("there is no full run to report: `python -m benchmarks` makes one")
    written = []
    (root / CHARTS).mkdir(parents=True, exist_ok=True)
    charts = {f"{name}.svg": chart(made) for name, (_, made) in chosen.items()}
    charts[HEADLINE] = headline_chart(chosen)
    for name, drawing in charts.items():
        path = root / CHARTS / name
        path.write_text(drawing, encoding="utf-8")
        written.append(path)
    for path, new in (
        (root / "docs" / "benchmarks.md", page(chosen)),
        (root / "README.md", headlines(chosen)),
    ):
        if not path.exists():
            continue
        try:
            text = replace_between(path.read_text(encoding="utf-8"), new)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
