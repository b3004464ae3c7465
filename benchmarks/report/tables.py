"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.goals import Verdict
from benchmarks.model import Metric
from benchmarks.peers import BASELINE
from benchmarks.report import figures
from benchmarks.summary import Row, Table

__all__ = ["goal_table", "headline_table", "markdown", "variant_table"]

PIPE = "tines_pipe"
"""What tines is where there is no native core: macOS, Windows, no compiler."""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def markdown(
    head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, notes: int = 0
) -> str:
    """A table; the first ``left`` and the last ``notes`` columns are text, the others figures."""
    last = len(head) - notes
    rule = ["---:" if left <= index < last else "---" for index in range(len(head))]
    lines = [head, rule, *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _figure(row: Row, metric: Metric) -> list[str]:
    own = row.estimates.get(metric.name)
    if own is None:
        return ["", ""]
    return [figures.number(own.median), figures.spread(own.spread) if own.samples > 1 else ""]


def _short(note: str) -> str:
    return note if len(note) <= 120 else note[:117] + "..."


def _variant_row(row: Row, table: Table) -> list[str]:
    name = f"*{row.title}*" if row.is_limit else row.title
    if row.peer.startswith("tines"):
        name = f"**{name}**"
    cells = [name]
    for metric in table.info.metrics:
        cells += _figure(row, metric)
    cells += ["" if row.is_limit else figures.ratio(row.ratio), str(row.runs)]
    notes = [_short(note) for note in row.notes]
    if row.disturbed:
        notes.append(f"other load in {row.disturbed} of {row.runs}")
    return [*cells, "; ".join(notes)]


def variant_table(table: Table) -> str:
    """All peers and limits of one variant."""
    head = [""]
    for metric in table.info.metrics:
        name = "" if metric is table.primary else f"{metric.name}, "
        head += [f"{name}{metric.unit}", "spread"]
    head += ["vs standard library", "rounds", "notes"]
    rows = [_variant_row(row, table) for row in (*table.limits, *table.rows)]
    return markdown(head, rows, notes=1)


def headline_table(tables: Iterable[Table]) -> str:
    """One line for each variant: tines on both transports, the standard library, the best other."""
    rows = []
    for table in tables:
        own, base, best = table.row("tines"), table.row(BASELINE), table.best_other()
        pipe = table.row(PIPE)
        if own is None or table.primary.name not in own.estimates:
            continue

        def median(row: Row | None, name: str = table.primary.name) -> str:
            known = row is not None and name in row.estimates
            return figures.number(row.estimates[name].median) if row and known else "-"

        rows.append(
            [
                f"{table.info.subject_title}: {table.info.title}",
                table.primary.unit,
                median(own),
                median(base),
                figures.ratio(own.ratio),
                figures.ratio(pipe.ratio) if pipe else "-",
                f"{median(best)} ({best.title})" if best else "-",
            ]
        )
    head = ["", "unit", "tines", "multiprocessing", "ratio", "pipe only", "best other library"]
    return markdown(head, rows, left=2, notes=1)


def goal_table(verdicts: Iterable[Verdict]) -> str:
    """Every bar, what was measured, and whether it was reached."""
    rows = []
    for verdict in verdicts:
        goal = verdict.goal
        title = verdict.table.info.title if verdict.table else goal.variant
        measured = verdict.measured
        if goal.versus:
            against = f" ({goal.against})" if goal.against else ""
            wanted = f"{goal.factor:.3g}x {goal.versus}{against}"
            found = figures.ratio(measured)
        else:
            wanted = f"{goal.factor:g} {verdict.table.primary.unit if verdict.table else ''}"
            found = "" if measured is None else figures.number(measured)
        result = "not measured" if measured is None else "yes" if verdict.reached else "**no**"
        metric = f" ({goal.metric})" if goal.metric else ""
        rows.append([f"{goal.subject}: {title}{metric}", goal.peer, wanted, found, result])
    return markdown(["", "who", "bar", "measured", "reached"], rows, left=2, notes=1)
