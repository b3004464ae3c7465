"""What was seen in the last two minutes: what each worker did, and figures over time.

A view says what a worker runs now and since when, how many tasks its slot has finished, and for how long
its process has held any. Two views one after the other so tell what happened in between, but for the order:
tasks that came and went are drawn as one block, as long as they took together. Times are those of
:func:`tines._clock.monotonic`. Nothing here is kept for longer than :data:`WINDOW` after it was last seen.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from tines.cli.page.series import Block, Lane, Mark, Series
from tines.cli.top_model import PoolView, ProgramView, View, WorkerView, number

__all__ = ["WINDOW", "Event", "History"]

WINDOW = 120.0
"""Seconds that are shown."""
_GAP = WINDOW / 400
"""Seconds that cannot be seen on the timeline: runs this close together are one block."""
_SHORT = 1.0
"""Seconds below which a task is not worth a block of its own."""
_MOST_EVENTS = 50
_RUNNING = "running"
_FINISHED = "finished"

Points = deque[tuple[float, float]]


@dataclass(frozen=True)
class Event:
    """Something that happened between two looks; ``at`` is ``time.time()`` of the second."""

    at: float
    program: int
    what: str


@dataclass
class _Worker:
    """One slot of a pool, whatever process is in it."""

    name: str
    begin: float
    pid: int | None
    done: float
    busy: float
    seen: float
    task: tuple[str, float] | None = None
    """What it was running when it was last seen, and since when."""
    blocks: deque[Block] = field(default_factory=deque)
    marks: deque[Mark] = field(default_factory=deque)
    short: bool = False
    """Whether the last block is of short tasks, so that others may join it."""


@dataclass
class _Pool:
    """One pool."""

    seen: float
    restarts: float
    workers: dict[object, _Worker] = field(default_factory=dict)


class History:
    """See the module. One thread at a time."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._now = 0.0
        self._programs: dict[Hashable, ProgramView] | None = None
        self._curves: dict[Hashable, Points] = {}
        self._pools: dict[Hashable, _Pool] = {}

    def add(self, view: View, now: float) -> None:
        """Take what was just seen."""
        self._now = now
        self._notice_programs(view)
        for program in view.programs:
            if not program.answering:
                continue
            key = (program.pid, program.since)
            self._point((*key, "cpu"), program.total_cpu)
            self._point((*key, "memory"), program.total_memory)
            for pool in program.pools:
                self._add_pool(program, pool)
            for queue in program.queues:
                self._point((*key, queue.number, "depth"), number(queue.statistics, "depth"))
                self._point((*key, queue.number, "rate"), queue.get_rate)
        self._forget()

    def curve(self, program: ProgramView, *what: object) -> list[tuple[float, float]]:
        """Return a figure over time, in seconds from the beginning of the window.

        Args:
            program: Whose.
            what: ``"cpu"`` or ``"memory"``; or the number of a pool or queue and one of ``"rate"``,
                ``"depth"``, ``"busy"``.
        """
        points = self._curves.get((program.pid, program.since, *what), ())
        return [(at - self._now + WINDOW, value) for at, value in points]

    def series(self, program: ProgramView, pool: PoolView) -> Series:
        """Return what the workers of a pool did."""
        found = self._pools.get((program.pid, program.since, pool.number))
        shift = WINDOW - self._now
        workers = found.workers.values() if found is not None else ()
        lanes = [
            Lane(
                each.name,
                each.begin + shift,
                each.seen + shift,
                [replace(b, begin=b.begin + shift, end=b.end + shift) for b in each.blocks],
                [replace(mark, at=mark.at + shift) for mark in each.marks],
            )
            for each in workers
        ]
        return Series(WINDOW, lanes, live=True)

    def _tell(self, program: ProgramView, what: str) -> None:
        self.events.appendleft(Event(time.time(), program.pid, what))

    def _notice_programs(self, view: View) -> None:
        there: dict[Hashable, ProgramView] = {
            (program.pid, program.since): program for program in view.programs
        }
        before, self._programs = self._programs, there
        if before is None:
            return  # these were there before we were
        for key, program in there.items():
            if key not in before:
                self._tell(program, "the program began")
            elif before[key].answering and not program.answering:
                self._tell(program, "the program does not answer")
        for key, program in before.items():
            if key not in there:
                self._tell(program, "the program has ended")

    def _add_pool(self, program: ProgramView, pool: PoolView) -> None:
        key = (program.pid, program.since, pool.number)
        restarts = number(pool.statistics, "restarts") or 0.0
        kept = self._pools.setdefault(key, _Pool(self._now, restarts))
        died = restarts > kept.restarts
        for index, worker in enumerate(pool.workers):
            slot = worker.statistics.get("slot", index)
            if not isinstance(slot, (int, str)):
                slot = index
            before = kept.workers.get(slot)
            if before is None:
                kept.workers[slot] = self._first(f"worker {slot}", worker)
            else:
                self._follow(before, worker, program, pool, died)
        there = [worker for worker in kept.workers.values() if worker.seen == self._now]
        if len(there) < len(kept.workers):
            kept.workers = {
                slot: each for slot, each in kept.workers.items() if each.seen > self._now - WINDOW
            }
        kept.restarts, kept.seen = restarts, self._now
        self._point((*key, "rate"), pool.rate)
        self._point((*key, "busy"), float(pool.busy))
        self._point((*key, "depth"), number(pool.statistics, "queued"))

    def _first(self, name: str, worker: WorkerView) -> _Worker:
        now = self._now
        lane = _Worker(name, now, worker.pid, 0.0, 0.0, now)
        if worker.task is not None:
            # What it runs began before we looked.
            lane.begin = max(now - worker.seconds, now - WINDOW)
            lane.blocks.append(Block(now - worker.seconds, now, _RUNNING, worker.task))
            lane.short = worker.seconds < _SHORT
        self._count(lane, worker)
        return lane

    def _count(self, lane: _Worker, worker: WorkerView) -> None:
        lane.pid, lane.seen = worker.pid, self._now
        lane.task = None if worker.task is None else (worker.task, self._now - worker.seconds)
        lane.done = number(worker.statistics, "done") or 0.0
        lane.busy = number(worker.statistics, "busy_seconds") or 0.0

    def _follow(
        self, lane: _Worker, worker: WorkerView, program: ProgramView, pool: PoolView, died: bool
    ) -> None:
        """Work out what a worker did since it was last seen."""
        now, before = self._now, lane.seen
        finished = int((number(worker.statistics, "done") or 0.0) - lane.done)
        busy = (number(worker.statistics, "busy_seconds") or 0.0) - lane.busy
        running = min(worker.seconds, now - before) if worker.task is not None else 0.0
        if worker.pid != lane.pid:
            if lane.pid is not None:
                self._left(lane, program, pool, died)
        elif finished > 0:
            earlier = min(max(busy - running, 0.0), now - before - running)
            self._finished(lane, before, before + earlier, finished)
        if worker.task is not None:
            self._runs(lane, worker.task, now - worker.seconds, finished > 0)
        self._count(lane, worker)

    def _left(self, lane: _Worker, program: ProgramView, pool: PoolView, died: bool) -> None:
        """Its process is not there any more."""
        what = f"process {lane.pid} {'died' if died else 'left'}"
        lane.marks.append(Mark(self._now, "death" if died else "left", what))
        lane.short = False
        if lane.task is not None and lane.blocks:
            task, since = lane.task
            last = lane.blocks[-1]
            end, last.outcome = last.end, _FINISHED
            if died:
                last.end = max(min(since, end), last.begin)
                lane.blocks.append(Block(last.end, end, "lost", task))
        self._tell(program, f"{pool.kind} {pool.number}, {lane.name}: {what}")

    def _finished(self, lane: _Worker, begin: float, end: float, count: int) -> None:
        """Draw what it has finished since, the one that it was running then first."""
        last = lane.blocks[-1] if lane.blocks else None
        if last is not None and last.outcome == _RUNNING:
            last.outcome = _FINISHED
            if count > 1 and not lane.short:
                last.end = begin + (end - begin) / count
                begin, count = last.end, count - 1
                last = None
            else:
                count -= 1  # it is counted already
        if last is not None and (lane.short or not count) and begin - last.end < _GAP:
            last.count += count
            last.end = max(last.end, end)
        else:
            last = Block(begin, end, _FINISHED, "a task", count)
            lane.blocks.append(last)
        lane.short = last.end - last.begin < _SHORT * last.count

    def _runs(self, lane: _Worker, task: str, since: float, another: bool) -> None:
        """Draw what it is running now."""
        last = lane.blocks[-1] if lane.blocks else None
        if last is not None and last.outcome == _RUNNING and not another:
            last.end = self._now
            lane.short = last.end - last.begin < _SHORT
        elif last is not None and lane.short and another and since - last.end < _GAP:
            last.end = self._now
            last.count += 1
            last.outcome = _RUNNING
        else:
            begin = since if last is None else max(since, last.end)
            lane.blocks.append(Block(begin, self._now, _RUNNING, task))
            lane.short = self._now - begin < _SHORT

    def _point(self, key: Hashable, value: float | None) -> None:
        if value is not None:
            self._curves.setdefault(key, deque()).append((self._now, value))

    def _forget(self) -> None:
        """Let go of what is out of the window."""
        oldest = self._now - WINDOW
        for key, points in list(self._curves.items()):
            while points and points[0][0] < oldest:
                points.popleft()
            if not points:
                del self._curves[key]
        for key, pool in list(self._pools.items()):
            if pool.seen < oldest:
                del self._pools[key]
                continue
            for worker in pool.workers.values():
                while worker.blocks and worker.blocks[0].end < oldest:
                    worker.blocks.popleft()
                while worker.marks and worker.marks[0].at < oldest:
                    worker.marks.popleft()
