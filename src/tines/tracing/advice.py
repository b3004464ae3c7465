"""What to change about a run: rules with thresholds, each about one figure of the report."""

from __future__ import annotations

from collections.abc import Iterator

from tines.tracing.report import Advice, PoolShare, Report, WorkerShare

__all__ = ["give"]

SHORT_TASK = 200e-6
"""Seconds below which the way to a worker and back weighs more than the task."""
GOOD_CHUNK = 2e-3
"""Seconds that a chunk should take at least."""
TRIVIAL = 5e-6
"""Seconds below which an item costs less than to send it, however many travel together."""
CHUNKS_EACH = 4
"""How many chunks a worker should have at least, for an even end."""
MANY = 200
"""Tasks from which it is worth while to look at their average."""
PICKLING = 0.25
"""The share of pickling in what workers do from which it is worth avoiding."""
IMBALANCE = 1.25
TAIL = 0.15
"""The share of the tail in the time that a pool was active."""
WAITING = 0.4
FEEDING = 0.6
"""The share of the time that a pool was active from which its feeder is the bottleneck."""
IDLING = 0.2
"""The share of processor time in what tasks took below which they only wait."""
SATURATED = 0.5
"""The share of all cores that workers had at which tasks wait for a core rather than for something else."""
STARTUP = 0.2
ENOUGH = 0.05
"""Seconds that a pool must have been active, or at pickling, before its shares mean something."""


def give(report: Report) -> Iterator[Advice]:
    """Yield what to change, in the order of what it is likely to bring."""
    for pool in report.pools:
        workers = [worker for worker in report.workers if worker.pool == pool.pool]
        if workers:
            yield from _about_pool(report, pool, workers)
    yield from _about_deaths(report)
    if report.retries:
        what = "1 task was" if report.retries == 1 else f"{report.retries} tasks were"
        yield Advice("retries", f"{what} sent once more: what the attempt before took was lost.")
    if report.dropped:
        yield Advice(
            "dropped",
            f"{report.dropped} of the oldest records did not fit, so the slowest tasks and the balance "
            "are those of the end of the run: trace with a larger max_bytes=, or max_file_bytes=.",
        )


def _about_pool(report: Report, pool: PoolShare, workers: list[WorkerShare]) -> Iterator[Advice]:
    which = "" if len(report.pools) == 1 else f"Pool {pool.pool}: "
    busy = sum(worker.busy for worker in workers)
    pickling = sum(worker.pickling for worker in workers)
    ready = sum(worker.ready for worker in workers)
    waiting = sum(worker.waiting for worker in workers)
    cpu = sum(worker.cpu for worker in workers)
    computing = cpu + sum(worker.core_wait for worker in workers)  # or it would, with more cores
    too_short = pool.tasks >= MANY and busy < SHORT_TASK * pool.tasks
    if too_short:
        yield _about_short_tasks(which, pool, busy, pickling)
    elif pickling > max(PICKLING * (busy + pickling), ENOUGH):
        volume = (pool.sent_bytes + pool.received_bytes) / max(1, pool.tasks)
        yield Advice(
            "pickling",
            f"{which}workers spent {pickling / (busy + pickling):.0%} of their work on pickling "
            f"({volume / 1024:,.0f} KB a task): send arrays (which are not copied) rather than lists, "
            "constants once through initializer= or functools.partial, and return less.",
        )
    if pool.active < ENOUGH:
        return
    if pool.processes > 1 and pool.imbalance > IMBALANCE and pool.tail > TAIL * pool.active:
        yield _about_imbalance(which, pool)
    elif waiting > WAITING * ready > 0:
        yield _about_waiting(which, pool, waiting / ready)
    # Where workers have most of the cores, it is these that tasks wait for.
    elif (
        not too_short
        and pool.items > pool.processes
        and busy > ENOUGH
        and computing < IDLING * busy
        and cpu < SATURATED * report.cores * pool.active
    ):
        yield _about_idling(which, pool, 1 - computing / busy)
    startup = max(worker.startup for worker in workers)
    if startup > STARTUP * pool.active:
        yield Advice(
            "start-up",
            f"{which}workers took up to {startup:.3g} s to start, the work {pool.active:.3g} s: keep "
            "one pool for several maps, or do less in the initializer and at import.",
        )


def _about_short_tasks(which: str, pool: PoolShare, busy: float, pickling: float) -> Advice:
    item = max(busy / pool.items, 1e-9)
    # Each worker is to have some chunks, so that they finish together.
    most = pool.items / (CHUNKS_EACH * pool.processes)
    size = _rounded(max(2.0, min(GOOD_CHUNK / item, most)))
    if pool.items == pool.tasks:
        text = (
            f"{pool.tasks:,} tasks of {_micro(item)} each travelled one by one, and to take them and "
            f"send their results took workers {_micro(pickling / pool.tasks)} each: use map() without "
            f"chunksize=, which sends many at once, or imap() with chunksize={size}."
        )
    else:
        text = (
            f"{pool.tasks:,} chunks of {pool.items / pool.tasks:.0f} items took {_micro(busy / pool.tasks)} "
            "each, less than their way to a worker and back: "
        )
        if "measured" in pool.uses:
            text += "put what is now several maps into one."
        elif size > pool.items / pool.tasks:
            text += (
                f"use map() without chunksize=, which measures what is right, or chunksize={size}."
            )
        else:
            text += "use map() without chunksize=, which measures what is right."
    if item < TRIVIAL:
        text += f" And {_micro(item)} of work is done sooner where it is asked for: have each task do more."
    return Advice("short-tasks", which + text)


def _about_imbalance(which: str, pool: PoolShare) -> Advice:
    how, what = "the last chunks", "use smaller chunks, and put the longest tasks first"
    if pool.items == pool.tasks:
        how, what = "one long task at the end", "put the longest tasks first, or divide them"
    elif "measured" in pool.uses:
        what = "put the longest tasks first, or use chunksize=1"
    return Advice(
        "imbalance",
        f"{which}the work took {pool.imbalance:.2f} times as long as if it had been shared out "
        f"evenly, and some workers had nothing to do for the last {pool.tail:.3g} s ({how}): {what}.",
    )


def _about_idling(which: str, pool: PoolShare, share: float) -> Advice:
    return Advice(
        "tasks-wait",
        f"{which}tasks spent {share:.0%} of their time waiting (for a network, a disk, a lock, or "
        f"asleep), and hardly used a processor: use more than {pool.processes} workers, which may be "
        "many more than there are cores, or threads (ThreadPool), or asyncio.",
    )


def _rounded(number: float) -> int:
    """Round to one digit that counts."""
    return int(float(f"{number:.0e}"))


def _micro(seconds: float) -> str:
    number = seconds * 1e6
    return f"{number:.2g} us" if number < 9.95 else f"{number:.0f} us"


def _about_waiting(which: str, pool: PoolShare, share: float) -> Advice:
    feeding = pool.pickling + pool.sending
    if feeding > FEEDING * pool.active:
        return Advice(
            "feeding",
            f"{which}workers waited {share:.0%} of the time for the process that sends the tasks, which "
            f"spent {feeding:.3g} s on pickling and sending them: send less (names of files instead of "
            "their content), or let the workers read the input.",
        )
    return Advice(
        "waiting",
        f"{which}workers waited {share:.0%} of the time: there was not enough to do at once. Submit "
        "tasks before you wait for earlier ones (apply_async, imap_unordered)"
        + (f", or use fewer than {pool.processes} workers." if pool.processes > 1 else "."),
    )


def _about_deaths(report: Report) -> Iterator[Advice]:
    if not report.deaths:
        return
    hows = sorted({death.how for death in report.deaths})
    uses = {fact for pool in report.pools for fact in pool.uses}
    hint = "look at what they were running"
    if any("SIGKILL" in how for how in hows):
        hint = "SIGKILL that nobody sent is the kernel's when memory runs out: use fewer workers"
        hint += "" if "max_memory" in uses else " or max_memory="
    hint += "." if "retries" in uses else "; retries= tries such tasks again."
    count = len(report.deaths)
    what = "1 process" if count == 1 else f"{count} processes"
    yield Advice("deaths", f"{what} {' or '.join(hows)}: {hint}")
