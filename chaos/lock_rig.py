"""Processes at a lock, an owned semaphore and a condition, killed and stopped at random.

Under the lock they write one number into two places. Whoever finds the two different must have been told
that the last holder died; and in the end the number is what was added, up to one for each that was
killed in between. Consumers on the condition have to be woken though others of them die, and in the
end everybody comes home and every token is there. The account is anonymous shared memory.
"""

from __future__ import annotations

import logging
import mmap
import random
import signal
import time
from typing import Any

import tines
from chaos import faults
from chaos.leaks import Baseline
from chaos.tally import Report, Tally

__all__ = ["run"]

ACTORS = 6
TOKENS = 2
MOST_STOCK = 5
ROUND = 5.0
PATIENCE = 30.0
FIRST, SECOND, STOCK, STOP, TORN, ROWS = range(6)


class Account:
    """Numbers in shared memory: what is under the lock, and for each process what it has done."""

    def __init__(self) -> None:
        self.cell = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")

    def begin(self, actor: int) -> None:
        self.cell[ROWS + 2 * actor] += 1

    def done(self, actor: int) -> None:
        self.cell[ROWS + 2 * actor + 1] += 1

    def totals(self) -> tuple[int, int]:
        """How many additions were begun, and how many done."""
        rows = self.cell[ROWS : ROWS + 2 * ACTORS].tolist()
        return sum(rows[::2]), sum(rows[1::2])


class Tools:
    """What the processes share."""

    def __init__(self, context: Any, recursive: bool) -> None:
        self.lock = context.RLock() if recursive else context.Lock()
        self.tokens = context.Semaphore(TOKENS, owned=True)
        self.condition = context.Condition()
        self.account = Account()

    def repair(self) -> None:
        """With the lock, which was a dead one's: finish what it had begun."""
        cell = self.account.cell
        cell[SECOND] = cell[FIRST]

    def add(self, actor: int) -> None:
        cell = self.account.cell
        self.account.begin(actor)
        with self.lock:
            if self.lock.recovered:
                self.repair()
            if cell[FIRST] != cell[SECOND]:
                cell[TORN] = 1
            cell[FIRST] += 1
            sum(range(300))  # room for a kill in between
            cell[SECOND] += 1
        self.account.done(actor)

    def enter(self) -> None:
        """The condition's lock; who had it may have owed a notification."""
        self.condition.acquire()
        if self.condition.recovered:
            self.condition.notify_all()

    def produce(self) -> None:
        cell = self.account.cell
        self.enter()
        if cell[STOCK] < MOST_STOCK:
            cell[STOCK] += 1
            self.condition.notify()
        self.condition.release()

    def consume(self) -> None:
        cell = self.account.cell
        self.enter()
        while not cell[STOCK] and not cell[STOP]:
            self.condition.wait()
        if cell[STOCK]:
            cell[STOCK] -= 1
        self.condition.release()


def act(tools: Tools, actor: int) -> None:
    """Half of them produce, half consume, and all add."""
    cell = tools.account.cell
    while not cell[STOP] or (actor % 2 and cell[STOCK]):
        tools.add(actor)
        with tools.tokens:
            (tools.consume if actor % 2 else tools.produce)()


class Rig:
    """One round with new tools."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.context = tines.get_context("fork")
        self.tools = Tools(self.context, chance.random() < 0.5)
        self.tally = Tally()
        self.actors = [self.start(actor) for actor in range(ACTORS)]

    def start(self, actor: int) -> Any:
        process = self.context.Process(target=act, args=(self.tools, actor))
        process.start()
        return process

    def disturb(self) -> None:
        """Do one thing to one process."""
        actor = self.chance.randrange(ACTORS)
        process = self.actors[actor]
        if self.chance.random() < 0.2:
            self.tally.stops += faults.stop_and_continue(process.pid, self.chance.random() * 0.05)
            return
        self.tally.kills += faults.kill(process.pid)
        self.end(process)
        self.actors[actor] = self.start(actor)

    def end(self, process: Any, patience: float = PATIENCE) -> None:
        process.join(patience)
        if process.is_alive():
            self.tally.hung += 1
            process.kill()
            process.join()
        self.tally.crashed += process.exitcode not in (0, -signal.SIGKILL)
        process.close()

    def come_home(self) -> None:
        """Nobody is killed any more: consumers go home when the stock is gone, and all others now."""
        tools, deadline = self.tools, time.monotonic() + PATIENCE
        tools.account.cell[STOP] = 1
        while any(process.is_alive() for process in self.actors) and time.monotonic() < deadline:
            if not tools.condition.acquire(timeout=PATIENCE):
                break
            tools.condition.notify_all()
            tools.condition.release()
            time.sleep(0.01)
        for process in self.actors:
            self.end(process, 0.1)

    def settle(self) -> None:
        """Compare the number under the lock with what was done."""
        tools, tally, cell = self.tools, self.tally, self.tools.account.cell
        tally.hung += not tools.lock.acquire(timeout=PATIENCE)
        if tools.lock.recovered:
            tools.repair()
        tally.submitted, tally.delivered = tools.account.totals()
        tally.torn += cell[TORN] or cell[FIRST] != cell[SECOND]
        tally.lost += max(0, tally.delivered - cell[FIRST])
        tally.twice += max(0, cell[FIRST] - tally.delivered - tally.kills)
        tally.died_with = tally.submitted - tally.delivered
        tally.lost += max(0, tally.died_with - tally.kills)
        tally.hung += sum(not tools.tokens.acquire(timeout=PATIENCE) for _ in range(TOKENS))
        tally.twice += tools.tokens.acquire(False)  # a token too many

    def plant(self, fault: str) -> None:
        """Do what a broken lock would do."""
        cell = self.tools.account.cell
        if fault == "leak":
            faults.leak_descriptor()
        elif fault == "lost":  # two read the same number
            cell[FIRST] = cell[SECOND] = cell[FIRST] - 1 - self.tally.kills
        elif fault == "twice":
            cell[FIRST] = cell[SECOND] = cell[FIRST] + 1 + self.tally.kills
        elif fault == "torn":
            cell[FIRST] += 1

    def finish(self, fault: str) -> Tally:
        self.come_home()
        if self.tools.lock.acquire(timeout=PATIENCE):
            if self.tools.lock.recovered:
                self.tools.repair()
            self.tools.lock.release()
        self.plant(fault)
        self.settle()
        return self.tally


def run(seconds: float, seed: int, plant: str, report: Report) -> Tally:
    """Run the rig for some seconds, with new tools every few."""
    log = logging.getLogger("tines.synchronize")  # warns of each death, in each heir
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        return _run(seconds, seed, plant, report)
    finally:
        log.setLevel(before)


def _run(seconds: float, seed: int, plant: str, report: Report) -> Tally:
    Rig(random.Random(0)).finish("")  # what a process makes once and keeps is no leak
    baseline = Baseline.take()
    total = Tally()
    end = time.monotonic() + seconds
    number = 0
    while (now := time.monotonic()) < end:
        rig = Rig(random.Random(f"{seed} {number}"))
        round_end = min(end, now + ROUND)
        while time.monotonic() < round_end:
            time.sleep(rig.chance.random() * 0.03)  # when something happens is random on purpose
            rig.disturb()
            report(total + rig.tally)
        total += rig.finish(plant)
        del rig
        number += 1
    baseline.compare(total)
    return total
