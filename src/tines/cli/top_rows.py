"""What ``tines top`` prints, as rows of text: for every display the same.

A row says what it is (:class:`Kind`), for a display to colour, and has one cell for each of
:data:`COLUMNS`.
"""

from __future__ import annotations

import enum
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tines.cli.figures import (
    amount,
    bytes_of,
    count,
    duration,
    failed,
    percent,
    rate,
    shortened,
    sparkline,
)
from tines.cli.top_model import PoolView, ProgramView, QueueView, View, WorkerView

__all__ = [
    "COLUMNS",
    "RIGHT",
    "WIDE",
    "Kind",
    "Row",
    "columns",
    "detail",
    "headline",
    "overview",
    "summary",
]

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
    return f"tines top  {time.strftime('%H:%M:%S')}  {summary(view)}"


def summary(view: View) -> str:
    """Return how much there is of everything."""
    programs = view.programs
    workers = [worker for program in programs for worker in program.workers]
    busy = sum(worker.task is not None for worker in workers)
    queues = sum(len(program.queues) for program in programs)
    pools = sum(len(program.pools) for program in programs)
    return (
        f"{count(len(programs), 'program')}, "
        f"{count(pools, 'pool')}, {busy} of {count(len(workers), 'worker')} busy, "
        f"{count(queues, 'queue')}"
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
                rows.append(_row(Kind.NOTE, what=f"      and {count(more, 'more worker')}"))
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
            yield f"{name} {bytes_of(value)}"
        elif isinstance(value, float):
            yield f"{name} {value:.3g}{' s' if name.endswith('seconds') else ''}"
        elif isinstance(value, (int, str)):
            yield f"{name} {value}"


def _row(kind: Kind, **cells: str) -> Row:
    return Row(kind, tuple(cells.get(name.lower(), "") for name in COLUMNS))


def _program(program: ProgramView) -> Row:
    what = shortened(program.name)
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
        cpu=percent(program.total_cpu),
        memory=bytes_of(program.total_memory),
        time=duration(time.time() - program.since),
    )


def _pool(pool: PoolView, selected: bool) -> Row:
    said = pool.statistics
    cpu = [worker.cpu for worker in pool.workers if worker.cpu is not None]
    memory = [worker.memory for worker in pool.workers if worker.memory is not None]
    wanted = said.get("processes", len(pool.workers))
    return _row(
        Kind.SELECTED if selected else Kind.POOL,
        what=f"{'>' if selected else ' '} {pool.kind} {pool.number}  {sparkline(pool.rates)}".rstrip(),
        busy=f"{pool.busy}/{wanted}",
        queued=amount(said.get("queued"), "task"),
        done=amount(said.get("done"), "task"),
        failed=failed(said),
        rate=rate(pool.rate),
        cpu=percent(sum(cpu) if cpu else None),
        memory=bytes_of(sum(memory) if memory else None),
    )


def _worker(worker: WorkerView) -> Row:
    items = worker.statistics.get("items")
    what = "waiting"
    if worker.task is not None:
        what = worker.task
        if isinstance(items, int) and items > 1:
            what = f"{what}, item {items}"
    if worker.node is not None:
        what = f"{worker.node}: {what}"
    return _row(
        Kind.WAITING if worker.task is None else Kind.RUNNING,
        pid=str(worker.pid or "-"),
        what=f"    {what}",
        done=amount(worker.statistics.get("done"), "task"),
        rate=rate(worker.rate),
        cpu=percent(worker.cpu),
        memory=bytes_of(worker.memory),
        time=duration(worker.seconds) if worker.task is not None else "",
    )


def _queue(queue: QueueView) -> Row:
    said = queue.statistics
    what = f"  {queue.kind} {queue.number}"
    if queue.error is not None:
        return _row(Kind.QUEUE, what=f"{what}: {queue.error}")
    if queue.put_rate is not None:
        rates = f"{rate(queue.put_rate)} in, {rate(queue.get_rate)} out"
        what = f"{what}: {rates}  {sparkline(queue.get_rates)}".rstrip()
    return _row(
        Kind.QUEUE,
        what=what,
        queued=amount(said.get("depth"), "msg"),
        done=amount(said.get("received"), "msg"),
        rate=rate(queue.get_rate),
        memory=bytes_of(said.get("bytes")),
    )
