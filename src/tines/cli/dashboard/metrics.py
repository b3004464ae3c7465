"""Figures for Prometheus: its text format, version 0.0.4.

Names end in their unit, counters in ``_total``. A figure that is not known has no line. Labels are what
stays the same while a program runs: its pid and command, the number of a pool or queue in it, the slot of a
worker. A counter of a worker's processor time begins anew with each process, as Prometheus expects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tines.cli.figures import shortened
from tines.cli.top_model import PoolView, ProgramView, View, number

__all__ = ["CONTENT_TYPE", "text_of"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LONGEST = 100
"""Characters of a command that are kept: with ``-c`` there is a whole program in it."""

_POOL = (
    ("processes", "workers", "gauge", "Workers that the pool is to have."),
    ("running", "running", "gauge", "Messages (calls or chunks) that workers hold."),
    ("queued", "queued", "gauge", "Messages that no worker has taken yet."),
    ("queued_bytes", "queued_bytes", "gauge", "Payload of the messages that are queued."),
    ("delayed", "delayed", "gauge", "Tasks that wait for their next attempt."),
    ("done", "done_total", "counter", "Messages finished."),
    ("raised", "raised_total", "counter", "Messages that ended with an exception."),
    ("lost", "lost_total", "counter", "Tasks that failed without an outcome."),
    ("retried", "retried_total", "counter", "Further attempts."),
    ("restarts", "restarts_total", "counter", "Workers that were replaced unannounced."),
)
_WORKER = (
    ("done", "done_total", "counter", "Messages that this slot has finished."),
    ("seconds", "task_seconds", "gauge", "For how long the worker has run its task; 0: it waits."),
    ("busy_seconds", "busy_seconds_total", "counter", "Time in which the process held tasks."),
    ("cpu_seconds", "cpu_seconds_total", "counter", "Processor time of the process."),
)
_QUEUE = (
    ("depth", "depth", "gauge", "Messages in the queue."),
    ("bytes", "bytes", "gauge", "Payload of the messages in the queue."),
    ("sent", "sent_total", "counter", "Messages put."),
    ("received", "received_total", "counter", "Messages got."),
)


@dataclass
class _Family:
    """All lines of one name: they have to stand together."""

    kind: str
    description: str
    lines: list[str] = field(default_factory=list)


def text_of(view: View) -> str:
    """Return what a scrape is answered with."""
    families: dict[str, _Family] = {}

    def add(
        name: str, kind: str, said: str, value: float | None, labels: Mapping[str, object]
    ) -> None:
        family = families.setdefault(f"tines_{name}", _Family(kind, said))
        if value is not None:
            family.lines.append(f"tines_{name}{_labels(labels)} {value:.16g}")

    add("programs", "gauge", "Programs of this user.", len(view.programs), {})
    add("unreadable", "gauge", "Entries that cannot be read.", len(view.unreadable), {})
    for program in view.programs:
        of_program = {"pid": program.pid, "program": shortened(program.name)[:_LONGEST]}
        for name, said, value in _program(program):
            add(f"program_{name}", "gauge", said, value, of_program)
        for pool in program.pools:
            of_pool = {**of_program, "kind": pool.kind, "pool": pool.number}
            for key, name, kind, said in _POOL:
                add(f"pool_{name}", kind, said, number(pool.statistics, key), of_pool)
            for labels, key, name, kind, said, figures in _workers(pool):
                add(f"worker_{name}", kind, said, number(figures, key), {**of_pool, **labels})
        for queue in program.queues:
            of_queue = {**of_program, "kind": queue.kind, "queue": queue.number}
            for key, name, kind, said in _QUEUE:
                add(f"queue_{name}", kind, said, number(queue.statistics, key), of_queue)
    return "".join(
        f"# HELP {name} {family.description}\n# TYPE {name} {family.kind}\n"
        + "".join(f"{line}\n" for line in family.lines)
        for name, family in families.items()
        if family.lines
    )


def _program(program: ProgramView) -> Iterator[tuple[str, str, float | None]]:
    cores = None if program.total_cpu is None else program.total_cpu / 100
    yield "answering", "Whether these are figures of now: it answered.", float(program.answering)
    yield "start_time_seconds", "When its first pool or queue was made.", program.since
    yield "cpu_cores", "Cores that it and its workers use.", cores
    yield "memory_bytes", "Resident memory of it and its workers.", program.total_memory


def _workers(
    pool: PoolView,
) -> Iterator[tuple[dict[str, object], str, str, str, str, Mapping[str, object]]]:
    for index, worker in enumerate(pool.workers):
        labels = {"slot": worker.statistics.get("slot", index)}
        for row in _WORKER:
            yield labels, *row, worker.statistics
        row = ("memory", "memory_bytes", "gauge", "Resident memory of the process.")
        yield labels, *row, {"memory": worker.memory}


def _labels(labels: Mapping[str, object]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: object) -> str:
    return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
