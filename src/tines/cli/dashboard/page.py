"""The page: a frame that is sent once, and what is in it, which the script asks for again and again.

Everything is made here, with the tables and charts of the report (:mod:`tines.cli.page`): the script
only puts it in its place. Elements that people open or move to have an ``id``, by which the script finds
them again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tines.cli.dashboard.calls import failures, maps
from tines.cli.dashboard.history import WINDOW, Event, History
from tines.cli.figures import amount, bytes_of, duration, failed, percent, rate, shortened
from tines.cli.page import charts
from tines.cli.page.html import Markup, section, table, text
from tines.cli.top_model import PoolView, ProgramView, QueueView, View, WorkerView, number
from tines.cli.top_rows import summary

__all__ = ["POLICY", "document", "view"]

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the browser is to load and to run: our own two files."""

MOST_PROGRAMS = 8
"""How many programs are shown with charts."""
MOST_WORKERS = 64
LONGEST_TITLE = 80
_NO_PROGRAM = "No tines program of yours is running, or it has made no pool and no queue."


def document(token: str) -> str:
    """Return the frame."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'><title>tines dashboard</title>"
        "<link rel='icon' href='data:,'>"
        f"<link rel='stylesheet' href='dashboard.css?token={token}'>"
        f"<script src='dashboard.js?token={token}' defer></script></head>\n"
        "<body class='dashboard'><header><h1>tines</h1><p id='state' role='status'>connecting</p>"
        "<button id='pause' type='button' aria-pressed='false' aria-keyshortcuts='p'>"
        "Pause <kbd>p</kbd></button></header>\n"
        "<main id='main'></main>\n"
        "<dialog id='stacks' aria-labelledby='stacks-title'><form method='dialog'>"
        "<h2 id='stacks-title'>Stacks</h2><button>Close <kbd>Esc</kbd></button></form>"
        "<pre id='stacks-text' tabindex='0'></pre></dialog>"
        "<noscript><p>This page needs its script. <code>tines top</code> shows the same in a "
        "terminal.</p></noscript></body></html>\n"
    )


def view(view: View, history: History, *, trouble: str | None = None) -> str:
    """Return what is in the frame now.

    Args:
        view: What programs said.
        history: What they have said before.
        trouble: Why nothing is known.
    """
    if trouble is not None:
        return f"<p class='trouble' role='alert'>{text(trouble)}</p>"
    parts = [f"<p id='summary'>{text(time.strftime('%H:%M:%S'))}: {text(summary(view))}</p>"]
    if not view.programs:
        parts.append(f"<p class='note'>{text(_NO_PROGRAM)}</p>")
    if len(view.programs) > 1:
        parts.append(_contents(view.programs))
    for index, program in enumerate(view.programs):
        parts.append(_program(program, history, index < MOST_PROGRAMS))
    parts.append(section("What happened", _events(history.events)))
    parts += [f"<p class='trouble'>unreadable: {text(why)}</p>" for why in view.unreadable]
    return "".join(parts)


def _contents(programs: Sequence[ProgramView]) -> str:
    items = "".join(
        f"<li><a id='to-{program.pid}' href='#program-{program.pid}'>{program.pid} "
        f"{text(_title(program))}</a></li>"
        for program in programs
    )
    return f"<nav aria-label='Programs'><ul>{items}</ul></nav>"


def _title(program: ProgramView) -> str:
    name = shortened(program.name)
    if len(name) > LONGEST_TITLE:  # with -c there is a whole program in it
        name = f"{name[: LONGEST_TITLE - 3]}..."
    if program.process != "MainProcess":
        return f"{program.process} of {program.parent}: {name}"
    return name


def _program(program: ProgramView, history: History, drawn: bool) -> str:
    silent = (
        ""
        if program.answering
        else "<p class='trouble'>It does not answer: it is stopped, or does not let go of the "
        "interpreter. These are the figures of its last answer.</p>"
    )
    figures = _figures(
        {
            "process": str(program.pid),
            "running for": duration(time.time() - program.since),
            "processor": percent(program.total_cpu),
            "memory": bytes_of(program.total_memory),
            "Python": program.python,
            "tines": program.version,
        }
    )
    parts = [silent, figures, _stacks_button(program.pid, "of the program")]
    if drawn:
        parts.append(
            _pair(
                _lines(history.curve(program, "cpu"), "processor", "%"),
                _lines(history.curve(program, "memory"), "memory", "MB", divisor=1e6),
            )
        )
    parts += [_pool(program, pool, history, drawn) for pool in program.pools]
    parts += [_queue(program, queue, history, drawn) for queue in program.queues]
    return (
        f"<section class='program' id='program-{program.pid}'><h2>{text(_title(program))}</h2>"
        f"{''.join(parts)}</section>\n"
    )


def _pool(program: ProgramView, pool: PoolView, history: History, drawn: bool) -> str:
    said = pool.statistics
    key = f"{program.pid}-{pool.number}"
    figures = _figures(
        {
            "nodes": ", ".join(pool.nodes),
            "busy": f"{pool.busy} of {said.get('processes', len(pool.workers))}",
            "queued": amount(said.get("queued"), "task"),
            "done": amount(said.get("done"), "task"),
            "rate": rate(pool.rate),
            "failed": failed(said),
            "waiting to be tried again": _some(said, "delayed", "task"),
            "tried again": _some(said, "retried", "time"),
            "workers replaced": _some(said, "restarts", "time"),
        }
    )
    parts = [figures, maps(pool), failures(pool, key)]
    if drawn:
        parts.append(charts.timeline(history.series(program, pool)))
        parts.append(
            _pair(
                _lines(history.curve(program, pool.number, "rate"), "finished", "tasks/s"),
                _lines(history.curve(program, pool.number, "depth"), "queued", "tasks"),
            )
        )
    parts.append(_workers(pool, key))
    return f"<h3>{text(pool.kind)} {pool.number}</h3>{''.join(parts)}"


def _some(said: Mapping[str, object], name: str, what: str) -> str:
    return amount(number(said, name) or None, what)


def _workers(pool: PoolView, key: str) -> str:
    far = bool(pool.nodes)
    rows = [_worker(worker, far) for worker in pool.workers[:MOST_WORKERS]]
    if not rows:
        return ""
    before = ("slot", "node", "process", "task") if far else ("slot", "process", "task")
    columns = (*before, "for", "done", "rate", "processor", "memory", "")
    shown = table(columns, rows, len(before))
    more = len(pool.workers) - len(rows)
    note = f"<p class='note'>and {more} more, which tines top --json lists</p>" if more > 0 else ""
    return f"<details id='workers-{key}' open><summary>Workers</summary>{shown}{note}</details>"


def _worker(worker: WorkerView, far: bool) -> Sequence[str]:
    items = number(worker.statistics, "items") or 0
    task = "waiting" if worker.task is None else worker.task
    if worker.task is not None and items > 1:
        task = f"{task}, item {items:.0f}"
    return (
        str(worker.statistics.get("slot", "")),
        *([worker.node or "here"] if far else []),
        str(worker.pid or "-"),
        task,
        duration(worker.seconds) if worker.task is not None else "",
        amount(worker.statistics.get("done"), "task"),
        rate(worker.rate),
        percent(worker.cpu),
        bytes_of(worker.memory),
        "" if worker.pid_here is None else _stacks_button(worker.pid_here),
    )


def _stacks_button(pid: int, whose: str = "") -> Markup:
    label = text(f"stacks {whose}".strip())
    return Markup(
        f"<button id='stacks-{pid}' type='button' data-stacks='{pid}' "
        f"aria-label='stacks of process {pid}'>{label}</button>"
    )


def _queue(program: ProgramView, queue: QueueView, history: History, drawn: bool) -> str:
    title = f"<h3>{text(queue.kind)} {queue.number}</h3>"
    if queue.error is not None:
        return f"{title}<p class='trouble'>{text(queue.error)}</p>"
    said = queue.statistics
    figures = _figures(
        {
            "depth": amount(said.get("depth"), "message"),
            "size": bytes_of(said.get("bytes")),
            "in": rate(queue.put_rate),
            "out": rate(queue.get_rate),
            "received": amount(said.get("received"), "message"),
        }
    )
    if not drawn:
        return f"{title}{figures}"
    pair = _pair(
        _lines(history.curve(program, queue.number, "rate"), "taken out", "msg/s"),
        _lines(history.curve(program, queue.number, "depth"), "depth", "msg"),
    )
    return f"{title}{figures}{pair}"


def _figures(figures: Mapping[str, str]) -> str:
    items = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"
        for name, value in figures.items()
        if value
    )
    return f"<dl class='figures'>{items}</dl>"


def _pair(*drawings: str) -> str:
    """Put charts beside each other where there is room."""
    cells = "".join(f"<div>{each}</div>" for each in drawings if each)
    return f"<div class='pair'>{cells}</div>" if cells else ""


def _lines(
    curve: Sequence[tuple[float, float]], name: str, unit: str, *, divisor: float = 1.0
) -> str:
    if len(curve) < 2:
        return ""
    return charts.lines(
        f"{name} over time", unit, {name: curve}, WINDOW, divisor=divisor, live=True
    )


def _events(events: Sequence[Event]) -> str:
    rows = [
        (time.strftime("%H:%M:%S", time.localtime(event.at)), str(event.program), event.what)
        for event in events
    ]
    return table(("time", "program", "what"), rows, 3) if rows else ""
