"""What the death of a worker means for the task that it held: who is charged, and with what.

A worker that dies held one dispatch at most. Of a chunk, one item is charged: the one that was running.
Those before it had finished, but their results were not yet sent, and those behind it had not begun; both
are sent again without a charge. A task that had not begun is sent again as a whole, unless this has
happened to it too often.

The charged item is tried again while it has attempts left, and otherwise fails. Where its worker was stopped
because its time was up, it fails with that, and is tried again only if ``retry_on`` lists timeouts.
"""

from __future__ import annotations

from dataclasses import replace

from tines.engines.contract import Exit
from tines.errors import TaskTimeoutError
from tines.pool.scheduler.commands import Lost, TimedOut
from tines.pool.scheduler.task import Task

__all__ = ["UNBEGUN_LIMIT", "death_of", "for_excess", "share_out", "verdict"]

UNBEGUN_LIMIT = 3
"""How many workers may die holding a task they had not begun, before it is charged all the same:
it may be the unpickling of the task that kills them."""


def share_out(task: Task, progress: int | None) -> tuple[list[Task], Task | None]:
    """Split what a dead worker held.

    Args:
        task: What it held, already taken out of ``pending``.
        progress: How many of its items the worker had begun; ``None``: nobody knows, as its whole node was
            lost, so that all are charged whose results have not arrived.

    Returns:
        What is to be sent again without a charge, and the one item that is charged, if any.
    """
    first = task.start + task.reported
    if progress is None:
        return [], task.split(first, task.stop)
    if progress <= task.reported and task.unbegun + 1 < UNBEGUN_LIMIT:
        rest = task.split(first, task.stop)
        rest.unbegun = task.unbegun + 1
        return [rest], None
    charged = task.start + max(progress - 1, task.reported)
    free = []
    if first < charged:
        free.append(task.split(first, charged))
    if charged + 1 < task.stop:
        free.append(task.split(charged + 1, task.stop))
    return free, task.split(charged, charged + 1)


def verdict(item: Task, exit: Exit, exceeded: float | None) -> Lost | TimedOut | None:
    """Return with what a charged item fails; ``None``: it is tried again.

    Args:
        item: The item.
        exit: How its worker ended.
        exceeded: The time limit for which the worker was being stopped, if it was.
    """
    spent = item.attempt > item.options.retries
    if exceeded is not None and (spent or not issubclass(TaskTimeoutError, item.options.retry_on)):
        return TimedOut(exceeded, item.attempt, exit.pid)
    if spent:
        return Lost(exit, item.attempt, (*item.history, death_of(item, exit)))
    return None


def death_of(item: Task, exit: Exit) -> str:
    """Return the line on this attempt for the history of an item."""
    return f"attempt {item.attempt}: worker {exit.pid} {exit.description}"


def for_excess(exit: Exit, memory: int, limit: int | None) -> Exit:
    """Return the end of a worker that was killed for its memory, with that as the reason."""
    because = f"because its memory, {memory / 1e6:,.0f} MB, had passed max_memory_hard={limit},"
    return replace(exit, description=f"{exit.description}, {because}")
