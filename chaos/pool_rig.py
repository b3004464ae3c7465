"""A busy pool whose workers are killed several times a second.

Without ``retries`` each task is delivered or fails with ``WorkerLostError``; with them all are
delivered. Every result is asked for, and every ``get`` has to return.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import deque
from contextlib import suppress
from typing import Any

import tines
from chaos.leaks import Baseline
from chaos.tally import Report, Tally
from tines.errors import WaitTimeout, WorkerLostError

__all__ = ["run"]

WORKERS = 3
AHEAD = 30
"""Tasks that are on their way at any moment."""
PATIENCE = 30.0


def work(number: int, seconds: float) -> tuple[int, bytes]:
    """What a task does, so that a wrong answer is seen."""
    time.sleep(seconds)
    return number, number.to_bytes(8, "little") * (number % 3000)


def expected(number: int) -> tuple[int, bytes]:
    return work(number, 0)


class Rig:
    """One run: the pool, what is pending, and what came of the rest."""

    def __init__(self, chance: random.Random, retries: int) -> None:
        self.chance = chance
        self.retries = retries
        self.tally = Tally()
        self.pending: deque[tuple[int, Any]] = deque()
        self.seen: set[int] = set()
        self.pool = tines.Pool(WORKERS, retries=retries, max_restarts=1_000_000)

    def submit(self) -> None:
        while len(self.pending) < AHEAD:
            number = self.tally.submitted
            task = self.pool.apply_async(work, (number, self.chance.random() * 0.01))
            self.pending.append((number, task))
            self.tally.submitted += 1

    def settle_oldest(self) -> None:
        number, task = self.pending.popleft()
        try:
            answer = task.get(PATIENCE)
        except WorkerLostError:
            self.tally.died_with += 1
            self.tally.lost += self.retries > 0
        except WaitTimeout:
            self.tally.hung += 1
        else:
            self.deliver(number, answer)

    def deliver(self, number: int, answer: tuple[int, bytes]) -> None:
        self.tally.twice += answer[0] in self.seen
        self.seen.add(answer[0])
        self.tally.torn += answer != expected(number)
        self.tally.delivered += 1

    def kill_one(self) -> None:
        workers = tines.active_children()
        if workers:
            victim = self.chance.choice(sorted(w.pid for w in workers if w.pid))
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self.tally.kills += 1

    def plant(self, fault: str) -> None:
        number = self.tally.submitted
        if fault == "lost":
            self.tally.submitted += 1
        elif fault == "twice":
            self.tally.submitted += 2
            for _ in range(2):
                self.deliver(number, expected(number))
        elif fault == "torn":
            self.tally.submitted += 1
            self.deliver(number, (number, b"torn"))
        elif fault == "leak":
            os.dup(0)

    def finish(self, fault: str) -> Tally:
        while self.pending:
            self.settle_oldest()
        self.plant(fault)
        self.pool.close()
        self.pool.join()
        settled = self.tally.delivered + self.tally.died_with + self.tally.hung
        self.tally.lost += self.tally.submitted - settled
        return self.tally


def run(seconds: float, seed: int, plant: str, report: Report) -> Tally:
    """Run the rig for some seconds; odd seeds run it with retries."""
    with tines.Pool(1) as warm:  # what a process makes once and keeps is no leak
        warm.apply(expected, (1,))
    del warm
    baseline = Baseline.take()
    rig = Rig(random.Random(seed), retries=1000 * (seed % 2))
    end = time.monotonic() + seconds
    next_kill = 0.0
    while time.monotonic() < end:
        rig.submit()
        rig.settle_oldest()
        if time.monotonic() >= next_kill:
            rig.kill_one()
            next_kill = time.monotonic() + rig.chance.random() * 0.4
        report(rig.tally)
    tally = rig.finish(plant)
    del rig
    baseline.compare(tally)
    return tally
