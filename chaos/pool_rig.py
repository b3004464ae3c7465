"""A busy pool whose workers are killed, stopped and interrupted several times a second.

Tasks come one by one, in maps and through ``imap_unordered``. Without ``retries`` each ends with its
own result or error, or with ``WorkerLostError``; with them none with the latter. Every result is asked
for, every ``get`` has to return, and each callback has to be called once, though some are slow and
some raise.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import tines
from chaos import faults
from chaos.leaks import Baseline
from chaos.pool_tasks import Kind, Planned, do, do_plain, expected, kind_of, prepare
from chaos.tally import Report, Tally
from tines.errors import EncodeError, WaitTimeout, WorkerLostError
from tines.transport import named

__all__ = ["METHODS", "Setting", "run"]

WORKERS = 3
AHEAD = 30
"""Calls that are on their way at any moment."""
MAP = 40
"""Items of one map."""
PATIENCE = 60.0
ROUND = 10.0
"""Seconds until the pool is closed and another is made."""
RETRIES = 1000
METHODS = tuple(multiprocessing.get_all_start_methods())

Settle = Callable[[], None]


@dataclass(frozen=True)
class Setting:
    """What kind of pool; ``None`` leaves it to chance, round by round."""

    transport: str | None = None
    method: str | None = None
    retries: bool | None = None

    def drawn(self, chance: random.Random) -> Setting:
        """Return a setting in which nothing is left open."""
        return Setting(
            self.transport or chance.choice(_transports()),
            self.method or chance.choice(METHODS),
            chance.random() < 0.5 if self.retries is None else self.retries,
        )


def _transports() -> list[str]:
    with suppress(ImportError):
        return [named("ring").name, "pipe"]
    return ["pipe"]


class Rig:
    """One round: a pool, what is pending, and what came of the rest."""

    def __init__(self, setting: Setting, chance: random.Random) -> None:
        self.chance = chance
        self.retries = setting.retries
        self.tally = Tally()
        self.pending: deque[Settle] = deque()
        self.seen: set[int] = set()
        self.called: Counter[int] = Counter()
        self.due: set[int] = set()
        self.explode_at = chance.randrange(7)
        self.storm = 0.002 if chance.random() < 0.3 else 0.0
        self.pool = tines.Pool(
            WORKERS,
            prepare,
            (self.storm,),
            context=tines.get_context(setting.method),
            transport=named(setting.transport or "pipe"),
            retries=RETRIES if setting.retries else 0,
            max_restarts=1_000_000,
        )
        faults.storm(self.storm)

    # What is asked of the pool.

    def submit(self) -> None:
        while len(self.pending) < AHEAD:
            what = self.chance.random()
            if what < 0.9:
                self.submit_one()
            elif what < 0.92:
                self.submit_refused()
            elif self.retries:
                self.submit_map()
            else:
                self.submit_stream()

    def numbers(self, count: int) -> range:
        first = self.tally.submitted
        self.tally.submitted += count
        return range(first, first + count)

    def submit_one(self) -> None:
        (number,) = self.numbers(1)
        kind = kind_of(number)
        options: dict[str, Any] = {}
        if number % 3 == 0:
            self.due.add(number)
            options["callback"] = options["error_callback"] = self.callback(number)
        if number % 5 == 0:
            options["timeout"] = PATIENCE  # never reached, whatever the wall clock says
        arguments = (number, self.chance.random() * 0.01, kind)
        task = self.pool.apply_async(do, arguments, **options)
        self.pending.append(lambda: self.settle(number, kind, lambda: task.get(PATIENCE)))

    def submit_refused(self) -> None:
        """An argument that pickle gives up on is an error at once, and no task."""
        try:
            self.pool.apply_async(do, (0, faults.nested()))
            self.tally.torn += 1
        except EncodeError:
            self.tally.refused += 1

    def submit_map(self) -> None:
        numbers = self.numbers(MAP)
        task = self.pool.map_async(do_plain, numbers, self.chance.choice((None, 1, 7)))
        self.pending.append(lambda: self.settle_map(numbers, task))

    def submit_stream(self) -> None:
        numbers = self.numbers(MAP)
        stream = self.pool.imap_unordered(do_plain, numbers)
        self.pending.append(lambda: self.settle_stream(numbers, stream))

    def callback(self, number: int) -> Callable[[object], None]:
        """Note the call; some callbacks take their time, some raise."""

        def called(_: object) -> None:
            self.called[number] += 1
            if number % 7 == self.explode_at:
                raise Planned(number)
            if number % 21 == 0:
                time.sleep(0.01)  # a callback that holds up the thread that delivers results

        return called

    # What came of it.

    def settle(self, number: int, kind: Kind, get: Callable[[], Any]) -> None:
        try:
            answer = get()
        except WaitTimeout:
            self.tally.hung += 1
        except WorkerLostError:
            self.died(1)
        except Exception as error:
            self.settle_error(number, kind, error)
        else:
            self.deliver(number, answer, kind)

    def settle_error(self, number: int, kind: Kind, error: Exception) -> None:
        self.tally.failed += 1
        as_planned = {
            Kind.PLAIN: False,
            Kind.RAISES: type(error) is Planned and error.args == (number,),
            Kind.TOO_DEEP: "RecursionError" in str(error),
            Kind.UNSENDABLE: f"task {number} " in str(error),
        }
        if not as_planned[kind]:
            self.tally.torn += 1
            print(f"task {number} ({kind.name}) ended with {error!r}", flush=True)

    def settle_map(self, numbers: range, task: Any) -> None:
        try:
            answers = task.get(PATIENCE)
        except WaitTimeout:
            self.tally.hung += len(numbers)
        except WorkerLostError:
            self.died(len(numbers))
        else:
            for number, answer in zip(numbers, answers):
                self.deliver(number, answer)

    def settle_stream(self, numbers: range, stream: Any) -> None:
        """Each item comes once, as its result or as an error of its own; then it is over."""
        for _ in numbers:
            try:
                answer = stream.next(PATIENCE)
            except StopIteration:
                return  # what is missing is counted as lost in the end
            except WaitTimeout:
                self.tally.hung += 1
            except WorkerLostError:
                self.died(1)
            else:
                self.deliver(answer[0], answer)
        with suppress(StopIteration):
            answer = stream.next(PATIENCE)
            self.deliver(answer[0], answer)

    def died(self, count: int) -> None:
        self.tally.died_with += count
        self.tally.lost += count * bool(self.retries)

    def deliver(self, number: int, answer: Any, kind: Kind = Kind.PLAIN) -> None:
        self.tally.twice += number in self.seen
        self.seen.add(number)
        self.tally.torn += kind is not Kind.PLAIN or answer != expected(number)
        self.tally.delivered += 1

    # What is done to it.

    def disturb(self) -> None:
        pids = sorted(each.pid for each in self.pool.statistics().workers if each.pid)
        if not pids:
            return
        victim, what = self.chance.choice(pids), self.chance.random()
        if what < 0.15:
            self.tally.stops += faults.stop_and_continue(victim, self.chance.random() * 0.05)
        elif what < 0.25:  # the rig itself, in the middle of whatever its threads wait for
            self.tally.signals += faults.flood(os.getpid(), self.chance.randrange(1, 20))
        else:
            self.tally.kills += faults.kill(victim)

    def plant(self, fault: str) -> None:
        if not fault:
            return
        if fault == "leak":
            faults.leak_descriptor()
            return
        (number,) = self.numbers(1)
        if fault == "twice":
            self.tally.submitted += 1
            for _ in range(2):
                self.deliver(number, expected(number))
        elif fault == "torn":
            self.deliver(number, (number, b"torn"))

    def finish(self, fault: str) -> Tally:
        while self.pending:
            self.pending.popleft()()
        faults.storm(0)
        self.plant(fault)
        self.pool.close()
        self.pool.join()
        tally = self.tally
        tally.callbacks = sum(self.called.values())
        tally.exploded = sum(n % 7 == self.explode_at for n in self.called.elements())
        tally.twice += sum(count > 1 for count in self.called.values())
        tally.lost += len(self.due - set(self.called))
        settled = tally.delivered + tally.died_with + tally.failed + tally.hung
        tally.lost += tally.submitted - settled
        return tally


def run(
    seconds: float, seed: int, plant: str, report: Report, setting: Setting = Setting()
) -> Tally:
    """Run the rig for some seconds, with a new pool every few."""
    faults.quiet(signal.SIGUSR1)
    logger = logging.getLogger("tines.pool")
    logger.addFilter(_is_unplanned)
    try:
        return _run(seconds, seed, plant, report, setting)
    finally:
        logger.removeFilter(_is_unplanned)


def _is_unplanned(record: logging.LogRecord) -> bool:
    """The log says of each callback that it raised, which it was made to."""
    return not (record.exc_info and isinstance(record.exc_info[1], Planned))


def _run(seconds: float, seed: int, plant: str, report: Report, setting: Setting) -> Tally:
    chance = random.Random(seed)
    warm_up(setting)
    baseline = Baseline.take()
    total = Tally()
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        rig = Rig(setting.drawn(chance), chance)
        round_end, next_fault = min(end, now + ROUND), now
        last = round_end == end
        while time.monotonic() < round_end:
            rig.submit()
            rig.pending.popleft()()
            if time.monotonic() >= next_fault:
                rig.disturb()
                next_fault = time.monotonic() + chance.random() * 0.2
            report(total + rig.tally)
        total.add(rig.finish(plant if last else ""))
        del rig
    baseline.compare(total)
    return total


def warm_up(setting: Setting) -> None:
    """What a process makes once and keeps is no leak: do everything once."""
    for transport in [setting.transport] if setting.transport else _transports():
        for method in [setting.method] if setting.method else METHODS:
            context = tines.get_context(method)
            with tines.Pool(1, context=context, transport=named(transport)) as pool:
                pool.apply(expected, (1,))
