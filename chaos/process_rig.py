"""Processes that hand back what they returned, some killed, stopped or interrupted before they can.

Each start ends in exactly one outcome: the result, the error that the process was made to raise, or
``ProcessLostError`` with the signal.
"""

from __future__ import annotations

import random
import time
from typing import Any

import tines
from chaos import faults
from chaos.leaks import Baseline
from chaos.tally import Report, Tally
from tines.errors import ProcessLostError, WaitTimeout

__all__ = ["run"]

AT_ONCE = 4
PATIENCE = 30.0
METHODS = {"fork": 8, "forkserver": 2, "spawn": 1}
"""How often each is used: they differ that much in what they cost."""


def expected(number: int) -> tuple[int, bytes]:
    return number, number.to_bytes(8, "little") * (number % 20_000)


def work(number: int, seconds: float, interval: float) -> Any:
    """Return something, raise something, or return what cannot be sent back."""
    faults.storm(interval)
    time.sleep(seconds)
    if number % 11 == 5:
        raise ValueError(number)
    return faults.nested() if number % 17 == 5 else expected(number)


def is_planned(number: int, error: Exception) -> bool:
    """Whether a process had to end with this error."""
    if number % 11 == 5:
        return type(error) is ValueError and error.args == (number,)
    return number % 17 == 5 and "RecursionError" in str(error)


class Rig:
    """One run: a few processes at any moment."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        known = tines.get_all_start_methods()
        self.methods = [name for name in METHODS if name in known for _ in range(METHODS[name])]
        self.tally = Tally()
        self.running: list[tuple[int, Any]] = []
        self.seen: set[int] = set()

    def start(self) -> None:
        number = self.tally.submitted
        interval = 0.002 if self.chance.random() < 0.3 else 0.0
        arguments = (number, self.chance.random() * 0.02, interval)
        context = tines.get_context(self.chance.choice(self.methods))
        process = context.Process(target=work, args=arguments, returns=True)
        process.start()
        self.running.append((number, process))
        self.tally.submitted += 1

    def end_one(self) -> None:
        number, process = self.running.pop(self.chance.randrange(len(self.running)))
        self.disturb(process.pid)
        try:
            self.deliver(number, process.result(PATIENCE))
        except ProcessLostError as error:
            self.tally.died_with += 1
            self.tally.torn += error.signal != "SIGKILL"
        except WaitTimeout:
            self.tally.hung += 1
            process.kill()
        except Exception as error:
            self.tally.failed += 1
            self.tally.torn += not is_planned(number, error)
        process.join()
        process.close()

    def disturb(self, pid: int) -> None:
        what, pause = self.chance.random(), self.chance.random() * 0.02
        if what < 0.5:
            time.sleep(pause)  # the moment of the kill is random on purpose
            self.tally.kills += faults.kill(pid)
        elif what < 0.6:
            self.tally.stops += faults.stop_and_continue(pid, pause)

    def deliver(self, number: int, answer: tuple[int, bytes]) -> None:
        self.tally.twice += answer[0] in self.seen
        self.seen.add(answer[0])
        self.tally.torn += answer != expected(number)
        self.tally.delivered += 1

    def plant(self, fault: str) -> None:
        number = self.tally.submitted
        self.tally.submitted += {"lost": 1, "twice": 2, "torn": 1}.get(fault, 0)
        if fault == "twice":
            for _ in range(2):
                self.deliver(number, expected(number))
        elif fault == "torn":
            self.deliver(number, (number, b"torn"))
        elif fault == "leak":
            faults.leak_descriptor()

    def finish(self, fault: str) -> Tally:
        while self.running:
            self.end_one()
        self.plant(fault)
        tally = self.tally
        settled = tally.delivered + tally.died_with + tally.failed + tally.hung
        tally.lost += tally.submitted - settled
        return self.tally


def run(seconds: float, seed: int, plant: str, report: Report) -> Tally:
    """Run the rig for some seconds."""
    warm = Rig(random.Random(0))
    for method in dict.fromkeys(warm.methods):
        warm.methods = [method]
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
