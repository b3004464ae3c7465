"""Processes that hand back what they returned, some killed before they can.

Each start ends in exactly one outcome: the result, or ``ProcessLostError`` with the signal.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import Any

import tines
from chaos.leaks import Baseline
from chaos.tally import Report, Tally
from tines.errors import ProcessLostError, WaitTimeout

__all__ = ["run"]

AT_ONCE = 4
PATIENCE = 30.0


def work(number: int, seconds: float) -> tuple[int, bytes]:
    time.sleep(seconds)
    return number, number.to_bytes(8, "little") * (number % 20_000)


class Rig:
    """One run: a few processes at any moment."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.context = tines.get_context("fork")
        self.tally = Tally()
        self.running: list[tuple[int, Any]] = []
        self.seen: set[int] = set()

    def start(self) -> None:
        number = self.tally.submitted
        arguments = (number, self.chance.random() * 0.02)
        process = self.context.Process(target=work, args=arguments, returns=True)
        process.start()
        self.running.append((number, process))
        self.tally.submitted += 1

    def end_one(self) -> None:
        number, process = self.running.pop(self.chance.randrange(len(self.running)))
        if self.chance.random() < 0.5:
            time.sleep(self.chance.random() * 0.02)  # the moment of the kill is random on purpose
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
                self.tally.kills += 1
        try:
            self.deliver(number, process.result(PATIENCE))
        except ProcessLostError as error:
            self.tally.died_with += 1
            self.tally.torn += error.signal != "SIGKILL"
        except WaitTimeout:
            self.tally.hung += 1
            process.kill()
        process.join()
        process.close()

    def deliver(self, number: int, answer: tuple[int, bytes]) -> None:
        self.tally.twice += answer[0] in self.seen
        self.seen.add(answer[0])
        self.tally.torn += answer != work(number, 0)
        self.tally.delivered += 1

    def plant(self, fault: str) -> None:
        number = self.tally.submitted
        self.tally.submitted += {"lost": 1, "twice": 2, "torn": 1}.get(fault, 0)
        if fault == "twice":
            for _ in range(2):
                self.deliver(number, work(number, 0))
        elif fault == "torn":
            self.deliver(number, (number, b"torn"))
        elif fault == "leak":
            os.dup(0)

    def finish(self, fault: str) -> Tally:
        while self.running:
            self.end_one()
        self.plant(fault)
        settled = self.tally.delivered + self.tally.died_with + self.tally.hung
        self.tally.lost += self.tally.submitted - settled
        return self.tally


def run(seconds: float, seed: int, plant: str, report: Report) -> Tally:
    """Run the rig for some seconds."""
    warm = Rig(random.Random(0))
    warm.start()
    warm.finish("")
    baseline = Baseline.take()
    rig = Rig(random.Random(seed))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        while len(rig.running) < AT_ONCE:
            rig.start()
        rig.end_one()
        report(rig.tally)
    tally = rig.finish(plant)
    baseline.compare(tally)
    return tally
