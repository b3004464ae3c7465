"""What ``tines top`` prints, as rows of text: for every display the same.

A row says what it is (:class:`Kind`), for a display to colour, and has one cell for each of
:data:`COLUMNS`.
"""

from __future__ import annotations

import enum
import os
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tines.cli.top_model import PoolView, ProgramView, QueueView, View, WorkerView

__all__ = ["COLUMNS", "RIGHT", "WIDE", "Kind", "Row", "columns", "detail", "headline", "overview"]

COLUMNS = ("PID", "WHAT", "BUSY", "QUEUED", "DONE", "FAILED", "RATE", "CPU", "MEMORY", "TIME")
WIDE = 1
"""The column that takes what room there is."""
RIGHT = range(2, len(COLUMNS))
_NARROWEST = 20
"""Characters that the wide column is to have, if others can make room for it."""
_DISPENSABLE = ("DONE", "QUEUED", "MEMORY", "RATE", "PID", "CPU", "FAILED", "BUSY", "TIME")
"""What is left out where a terminal is narrow, in that order."""

_WORKERS_SHOWN = 8
_NOTE = 56
"""Characters in a line of a longer text: what the column has on a terminal of a hundred."""
_UNITS = ("", "k", "M", "G", "T", "P")


class Kind(enum.Enum):
    """What a row is about."""

    PROGRAM = "program"
    POOL = "pool"
    SELECTED = "selected"
    """A pool that the next Enter opens."""
    RUNNING = "running"
    WAITING = "waiting"
    QUEUE = "queue"
    NOTE = "note"


@dataclass(frozen=True)
class Row:
    """One line; empty cells where nothing is to be said."""

    kind: Kind
    cells: tuple[str, ...]


def headline(view: View) -> str:
    """Return the line above everything."""
    programs = view.programs
    workers = [worker for program in programs for worker in program.workers]
    busy = sum(worker.task is not None for worker in workers)
    queues = sum(len(program.queues) for program in programs)
    pools = sum(len(program.pools) for program in programs)
    return (
        f"tines top  {time.strftime('%H:%M:%S')}  {_count(len(programs), 'program')}, "
        f"{_count(pools, 'pool')}, {busy} of {_count(len(workers), 'worker')} busy, "
        f"{_count(queues, 'queue')}"
    )


def overview(view: View, selected: int | None = None) -> list[Row]:
    """Return the rows of everything.

    Args:
        view: What is known.
        selected: Which pool is marked, counted through all programs.
    """
    rows = []
    pools = 0
    for program in view.programs:
        rows.append(_program(program))
        for pool in program.pools:
            rows.append(_pool(pool, pools == selected))
            pools += 1
            rows += [_worker(worker) for worker in pool.workers[:_WORKERS_SHOWN]]
            more = len(pool.workers) - _WORKERS_SHOWN
            if more > 0:
                rows.append(_row(Kind.NOTE, what=f"      and {_count(more, 'more worker')}"))
        rows += [_queue(queue) for queue in program.queues]
    rows += [_row(Kind.NOTE, what=f"unreadable: {why}") for why in view.unreadable]
    if not view.programs:
        rows.append(_row(Kind.NOTE, what="no tines program of yours is running"))
    return rows


def columns(rows: Sequence[Row], width: int, gap: int) -> list[int]:
    """Return the columns that there is room for; those with nothing in them make room first."""
    chosen = [
        number
        for number, name in enumerate(COLUMNS)
        if name != "FAILED" or any(row.cells[number] for row in rows)
    ]
    sizes = [
        max([len(name), *(len(row.cells[number]) for row in rows if row.kind is not Kind.NOTE)])
        for number, name in enumerate(COLUMNS)
    ]
    sizes[WIDE] = min(sizes[WIDE], _NARROWEST)
    for name in _DISPENSABLE:
        if sum(sizes[number] + gap for number in chosen) - gap <= width:
            break
        chosen = [number for number in chosen if COLUMNS[number] != name]
    return chosen


def detail(program: ProgramView, pool: PoolView) -> list[Row]:
    """Return the rows of one pool: all that it says, and all of its workers."""
    said = textwrap.wrap(", ".join(_said(pool.statistics)), _NOTE)
    return [
        _program(program),
        _pool(pool, False),
        *(_row(Kind.NOTE, what=f"    {line}") for line in said),
        *(_worker(worker) for worker in pool.workers),
    ]


def _said(statistics: Any) -> Iterator[str]:
    for name, value in statistics.items():
        if name.endswith("bytes") or name == "memory":
            yield f"{name} {_bytes(value)}"
        elif isinstance(value, float):
            yield f"{name} {value:.3g}{' s' if name.endswith('seconds') else ''}"
        elif isinstance(value, (int, str)):
            yield f"{name} {value}"


def _row(kind: Kind, **cells: str) -> Row:
    return Row(kind, tuple(cells.get(name.lower(), "") for name in COLUMNS))


def _program(program: ProgramView) -> Row:
    what = _shortened(program.name)
    if program.process != "MainProcess":
        what = f"{program.process} of {program.parent}: {what}"
    if not program.answering:
        what = f"(does not answer) {what}"
    workers = program.workers
    busy = sum(worker.task is not None for worker in workers)
    return _row(
        Kind.PROGRAM,
        pid=str(program.pid),
        what=what,
        busy=f"{busy}/{len(workers)}" if workers else "",
        cpu=_percent(program.total_cpu),
        memory=_bytes(program.total_memory),
        time=_duration(time.time() - program.since),
    )


def _pool(pool: PoolView, selected: bool) -> Row:
    said = pool.statistics
    cpu = [worker.cpu for worker in pool.workers if worker.cpu is not None]
    memory = [worker.memory for worker in pool.workers if worker.memory is not None]
    wanted = said.get("processes", len(pool.workers))
    return _row(
        Kind.SELECTED if selected else Kind.POOL,
        what=f"{'>' if selected else ' '} {pool.kind} {pool.number}",
        busy=f"{pool.busy}/{wanted}",
        queued=_amount(said.get("queued"), "task"),
        done=_amount(said.get("done"), "task"),
        failed=_failed(said),
        rate=_rate(pool.rate),
        cpu=_percent(sum(cpu) if cpu else None),
        memory=_bytes(sum(memory) if memory else None),
    )


def _worker(worker: WorkerView) -> Row:
    items = worker.statistics.get("items")
    what = "waiting"
    if worker.task is not None:
        what = worker.task
        if isinstance(items, int) and items > 1:
            what = f"{what}, item {items}"
    return _row(
        Kind.WAITING if worker.task is None else Kind.RUNNING,
        pid=str(worker.pid or "-"),
        what=f"    {what}",
        done=_amount(worker.statistics.get("done"), "task"),
        rate=_rate(worker.rate),
        cpu=_percent(worker.cpu),
        memory=_bytes(worker.memory),
        time=_duration(worker.seconds) if worker.task is not None else "",
    )


def _queue(queue: QueueView) -> Row:
    said = queue.statistics
    what = f"  {queue.kind} {queue.number}"
    if queue.error is not None:
        return _row(Kind.QUEUE, what=f"{what}: {queue.error}")
    if queue.put_rate is not None:
        what = f"{what}: {_rate(queue.put_rate)} in, {_rate(queue.get_rate)} out"
    return _row(
        Kind.QUEUE,
        what=what,
        queued=_amount(said.get("depth"), "msg"),
        done=_amount(said.get("received"), "msg"),
        rate=_rate(queue.get_rate),
        memory=_bytes(said.get("bytes")),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}%"


def _figures(value: object) -> tuple[str, str] | None:
    """Return a number in three or four figures, and what multiplies it; ``None``: it is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    number, unit = float(value), 0
    while abs(number) >= 9999.5 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    if number < 10 and number != int(number):
        return f"{number:.1f}", _UNITS[unit]
    return f"{number:.0f}", _UNITS[unit]


def _amount(value: object, what: str) -> str:
    """Return how many there are of something."""
    figures = _figures(value)
    if figures is None:
        return ""
    return f"{''.join(figures)} {what}{'' if value == 1 else 's'}"


def _rate(value: object) -> str:
    figures = _figures(value)
    return "" if figures is None else f"{''.join(figures)}/s"


def _bytes(value: object) -> str:
    figures = _figures(value)
    return "" if figures is None else f"{figures[0]} {figures[1]}B"


def _failed(statistics: Mapping[str, object]) -> str:
    """Return how many tasks have failed, if any have."""
    counts = (statistics.get("raised"), statistics.get("lost"))
    failed = sum(count for count in counts if isinstance(count, int))
    return _amount(failed, "task") if failed else ""


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(min(seconds, 1e9)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s"


def _shortened(command: str) -> str:
    """Return a command line without the interpreter's and the script's folders."""
    first, space, rest = command.partition(" ")
    script, space_behind, arguments = rest.partition(" ")
    return f"{os.path.basename(first)}{space}{os.path.basename(script)}{space_behind}{arguments}"
