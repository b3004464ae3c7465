"""Producers and consumers of one channel, killed, stopped and interrupted at random.

In some rounds interval timers interrupt every wait as well. Each message is in the account: sent for
certain, or perhaps (its sender was killed inside ``send``); received by one consumer, or under the
lease of a dead one. The account is anonymous shared memory, so that what the killed did is still in
it.
"""

from __future__ import annotations

import itertools
import mmap
import random
import signal
import time
from typing import Any

from chaos import faults
from chaos.leaks import Baseline
from chaos.tally import Report, Tally
from tines import get_context
from tines.errors import QueueShutDown
from tines.transport import named

__all__ = ["run"]

PRODUCERS, CONSUMERS = 2, 3
MOST = 1 << 20
"""Messages that one producer can send in one round."""
ROUND = 5.0
"""Seconds until the channel is closed and another is made."""
PATIENCE = 30.0
SHORT = 0.01
"""How long a consumer waits at times before it looks at the clock."""
CLOCK_SLACK = 0.001
SENDING, SENT = 1, 2


class Account:
    """What became of each message, by its tag."""

    def __init__(self) -> None:
        self._sent = mmap.mmap(-1, MOST * PRODUCERS)
        # A byte for each message and consumer: no two processes write the same one.
        self._received = [mmap.mmap(-1, MOST * PRODUCERS) for _ in range(CONSUMERS + 1)]
        self._torn = mmap.mmap(-1, mmap.PAGESIZE)
        # Two words for each consumer: how many waits it saw to the end, and how many ended early.
        self._waits = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")

    def sending(self, tag: int) -> None:
        self._sent[tag] = SENDING

    def sent(self, tag: int) -> None:
        self._sent[tag] = SENT

    def begun(self, producer: int) -> int:
        found = self._sent.find(b"\0", producer * MOST)
        return found - producer * MOST

    def received(self, consumer: int, tag: int) -> None:
        self._received[consumer][tag] = min(self._received[consumer][tag] + 1, 9)

    def was_received(self, tag: int) -> bool:
        return any(row[tag] for row in self._received)

    def torn(self) -> None:
        self._torn[0] = 1

    def waited(self, consumer: int, seconds: float) -> None:
        self._waits[2 * consumer] += 1
        self._waits[2 * consumer + 1] += seconds < SHORT - CLOCK_SLACK

    def settle(self, tally: Tally) -> None:
        """Compare what was sent with what was received."""
        tally.torn += self._torn[0]
        tally.waits += sum(self._waits[: 2 * CONSUMERS : 2])
        tally.early += sum(self._waits[1 : 2 * CONSUMERS : 2])
        for producer in range(PRODUCERS):
            for tag in range(producer * MOST, producer * MOST + self.begun(producer)):
                count = sum(row[tag] for row in self._received)
                tally.submitted += self._sent[tag] == SENT
                tally.delivered += count > 0
                tally.twice += count > 1
                tally.lost += self._sent[tag] == SENT and count == 0


def payload_of(tag: int) -> tuple[bytes, list[bytes]]:
    """The bytes of a message follow from its tag; some carry buffers of their own."""
    word = tag.to_bytes(8, "little")
    buffers = [word * 8000, *[word * 500] * (tag % 5)] if tag % 7 == 0 else []
    return word * (tag % 97 if tag % 31 else 3000), buffers


def produce(channel: Any, account: Account, producer: int, interval: float) -> None:
    faults.storm(interval)
    for number in range(account.begun(producer), MOST - 1):
        tag = producer * MOST + number
        data, buffers = payload_of(tag)
        account.sending(tag)
        channel.send(data, buffers, 0, tag)
        account.sent(tag)
        if number % 300 == 0:
            time.sleep(0.03)  # long enough for the consumers to run dry, and into their timeouts


def consume(channel: Any, account: Account, consumer: int, interval: float) -> None:
    faults.storm(interval)
    try:
        for turn in itertools.count():
            start = time.monotonic()
            message = channel.recv(SHORT if turn % 3 else None, consumer)
            if message is None:
                account.waited(consumer, time.monotonic() - start)
            else:
                take(account, consumer, message)
                channel.release(consumer)
    except QueueShutDown:
        pass


def take(account: Account, consumer: int, message: Any) -> None:
    _, tag, data, buffers = message
    account.received(consumer, tag)
    if (bytes(data), [bytes(b) for b in buffers]) != payload_of(tag):
        account.torn()


class Rig:
    """One run over one transport."""

    def __init__(self, transport: str, chance: random.Random) -> None:
        self.chance = chance
        self.context = get_context("fork")
        self.transport = named(transport)
        self.channel = self.transport.channel(
            max_items=chance.choice((1, 10, 200)), leases=CONSUMERS
        )
        self.account = Account()
        self.tally = Tally()
        self.storm = 0.002 if chance.random() < 0.3 else 0.0
        self.actors = [self.start(actor) for actor in range(PRODUCERS + CONSUMERS)]

    def start(self, actor: int) -> Any:
        target, number = (produce, actor) if actor < PRODUCERS else (consume, actor - PRODUCERS)
        arguments = (self.channel, self.account, number, self.storm)
        process = self.context.Process(target=target, args=arguments)
        process.start()
        return process

    def disturb(self) -> None:
        """Do one thing to one process."""
        actor = self.chance.randrange(len(self.actors))
        process = self.actors[actor]
        what = self.chance.random()
        if not process.is_alive():  # a producer that has sent all that it may
            return
        if what < 0.15:
            pause = self.chance.random() * 0.05
            self.tally.stops += faults.stop_and_continue(process.pid, pause)
        elif what < 0.4:
            self.tally.signals += faults.flood(process.pid, self.chance.randrange(1, 20))
        else:
            self.replace(actor)

    def replace(self, actor: int) -> None:
        """Kill a process, settle what it held, and start another in its place."""
        process = self.actors[actor]
        process.kill()
        self.end(process)
        self.tally.kills += process.exitcode == -signal.SIGKILL
        if self.chance.random() < 0.7:
            self.transport.reap(process.pid)
        process.close()
        if actor >= PRODUCERS:
            self.look_at_lease(actor - PRODUCERS)
        self.actors[actor] = self.start(actor)

    def end(self, process: Any) -> None:
        process.join(PATIENCE)
        if process.is_alive():
            self.tally.hung += 1
            process.kill()
            process.join()
        self.tally.crashed += process.exitcode not in (0, -signal.SIGKILL)

    def look_at_lease(self, consumer: int) -> None:
        lease = self.channel.lease(consumer)
        if lease is None:
            return
        if not self.account.was_received(lease.tag):
            self.account.received(consumer, lease.tag)
            self.tally.died_with += 1
        self.channel.release(consumer)

    def plant(self, fault: str) -> None:
        """Do what a broken transport would do."""
        tag = self.account.begun(0)  # the next one of a producer that is dead by now
        if fault == "leak":
            faults.leak_descriptor()
        elif fault:
            self.account.sent(tag)
        for _ in range(2 if fault == "twice" else 0):
            self.account.received(CONSUMERS, tag)
        if fault == "torn":
            self.channel.send(b"torn", tag=tag)

    def finish(self, fault: str) -> Tally:
        """End all, drain, and compare."""
        for process in self.actors[:PRODUCERS]:
            process.kill()
            self.end(process)
        self.plant(fault)
        self.channel.shutdown()
        for process in self.actors[PRODUCERS:]:
            self.end(process)
        try:
            while (message := self.channel.recv(1.0)) is not None:
                take(self.account, CONSUMERS, message)
        except QueueShutDown:
            pass
        self.channel.close()
        for process in self.actors:
            process.close()
        self.account.settle(self.tally)
        return self.tally


def run(seconds: float, seed: int, plant: str, report: Report, transport: str = "ring") -> Tally:
    """Run the rig for some seconds, with a new channel every few."""
    faults.quiet(signal.SIGUSR1)  # for the children, which inherit it
    Rig(transport, random.Random(0)).finish("")  # what a process makes once and keeps is no leak
    baseline = Baseline.take()
    total = Tally()
    end = time.monotonic() + seconds
    for number in itertools.count():
        now = time.monotonic()
        if now >= end:
            break
        rig = Rig(transport, random.Random(f"{seed} {number}"))
        round_end = min(end, now + ROUND)
        while time.monotonic() < round_end:
            time.sleep(rig.chance.random() * 0.03)  # when something happens is random on purpose
            rig.disturb()
            report(total + rig.tally)
        total.add(rig.finish(plant))
        del rig
    baseline.compare(total)
    return total
