"""What tines is to reach: each bar as a ratio between two peers of one variant, in one run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.peers import BASELINE
from benchmarks.summary import Table

__all__ = ["GOALS", "Goal", "Verdict", "check", "peers_of"]


@dataclass(frozen=True)
class Goal:
    """``peer`` must be at least ``factor`` times better than ``versus``.

    With ``versus`` empty, the figure itself must be at most (or at least) ``factor``. With
    ``against``, the figure of ``versus`` is taken from that other variant of the subject.
    """

    subject: str
    variant: str
    factor: float
    versus: str = "stdlib"
    peer: str = "tines"
    metric: str = ""
    against: str = ""


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured; ``measured`` is ``None`` where a figure is missing."""

    goal: Goal
    table: Table | None
    measured: float | None
    reached: bool


def _pool(workers: int) -> tuple[Goal, ...]:
    return (
        Goal("pool", f"apply {workers}", 7),
        Goal("pool", f"apply {workers}", 7, metric="p99"),
        Goal("pool", f"apply_async {workers}", 6),
        Goal("pool", f"map1 {workers}", 6),
        Goal("pool", f"imap_unordered {workers}", 5),
        Goal("pool", f"map {workers}", 1.3),
    )


GOALS = (
    Goal("queue_small", "1-1", 6),
    Goal("queue_small", "1-1", 5, versus="faster_fifo"),
    Goal("queue_small", "4-4", 6),
    Goal("queue_bulk", "bytes 64 KB", 4),
    Goal("queue_bulk", "bytes 64 KB", 1, versus="faster_fifo"),
    Goal("queue_bulk", "bytes 1 MB", 12),
    Goal("queue_bulk", "bytes 1 MB", 1, versus="faster_fifo"),
    Goal("queue_bulk", "bytes 64 MB", 3),
    *(
        Goal("queue_bulk", f"numpy {size}{written}", factor, versus=versus)
        for written in ("", " written")
        for size, bar in (("1 MB", 10), ("64 MB", 20), ("512 MB", 20))
        for versus, factor in (("stdlib", bar), ("torch", 3))
    ),
    Goal("latency", "ping-pong", 8),
    Goal("latency", "idle", 10, versus=""),
    *_pool(2),
    *_pool(8),
    Goal("arrays", "arguments", 12),
    Goal("arrays", "arguments", 2.5, versus="joblib"),
    Goal("arrays", "results", 6),
    Goal("arrays", "results", 1.8, versus="ray"),
    Goal("loader", "tensor 32 persistent", 5),
    Goal("loader", "tensor 256 persistent", 5),
    *(
        Goal("loader", variant, 1, versus=f"stdlib{method}", peer=f"tines{method}")
        for method in ("", "_spawn", "_forkserver")
        for variant in ("tensor 32", "tensor 32 persistent", "tensor 256")
    ),
    *(
        Goal("loader", variant, 1)
        for what in ("numpy", "dict")
        for variant in (f"{what} 32 persistent", f"{what} 256 persistent")
    ),
    Goal("data", "objects", 1.2),
    Goal("skew", "heavy tail", 1.06, versus=""),
    Goal("skew", "long ones last", 1.06, versus=""),
    Goal("startup", "process", 1),
    Goal("startup", "process", 1.5, versus="stdlib_spawn", peer="tines_spawn"),
    Goal("startup", "process", 5, versus="stdlib_forkserver", peer="tines_forkserver"),
    # Not slower than from a small parent; a tenth is within the spread.
    Goal(
        "startup",
        "process 2 GB",
        0.9,
        versus="tines_forkserver",
        peer="tines_forkserver",
        against="process",
    ),
    Goal("startup", "pool", 1),
    Goal("startup", "pool", 1.5, versus="stdlib_spawn", peer="tines_spawn"),
    Goal("startup", "pool", 3, versus="stdlib_forkserver", peer="tines_forkserver"),
    Goal("imports", "import", 1 / 1.3),
    Goal("memory", "imap", 8, versus=""),
    # Of messages of 8 MB, the C library's heap keeps one in each process.
    Goal("memory", "burst", 16, versus=""),
)


def _judge(goal: Goal, table: Table | None, other_table: Table | None) -> Verdict:
    if table is None:
        return Verdict(goal, None, None, False)
    metric = next(
        (metric for metric in table.info.metrics if metric.name == goal.metric), table.primary
    )
    own = table.median(goal.peer, metric.name)
    if not goal.versus:
        reached = own is not None and metric.ratio(own, goal.factor) >= 1
        return Verdict(goal, table, own, reached)
    other = other_table.median(goal.versus, metric.name) if other_table else None
    if own is None or other is None:
        return Verdict(goal, table, None, False)
    measured = metric.ratio(own, other)
    return Verdict(goal, table, measured, measured >= goal.factor)


def check(tables: Iterable[Table], goals: Iterable[Goal] = GOALS) -> list[Verdict]:
    """Hold the goals against what was measured."""
    by_name = {(table.info.subject, table.info.name): table for table in tables}
    return [
        _judge(
            goal,
            by_name.get((goal.subject, goal.variant)),
            by_name.get((goal.subject, goal.against or goal.variant)),
        )
        for goal in goals
    ]


def peers_of(subject: str, variant: str) -> set[str]:
    """The peers without which some bar of a variant cannot be judged."""
    return {
        name
        for goal in GOALS
        if goal.subject == subject and variant in (goal.variant, goal.against)
        for name in (goal.peer, goal.versus, BASELINE)
        if name
    }
