"""Kill producers and consumers at random moments and start others in their place, for some seconds.

random_kills.py SEED SECONDS [FAULT] prints the tally; FAULT (lost, twice, torn or leak) is planted, and
must then be found.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import sys
import time
from collections import Counter
from functools import partial

import tines.transport.ring  # noqa: F401  registers the fork hooks
from programs.actors import census_is_clean, consume, drain, produce, spawn, wait_for
from programs.journal import Journal
from programs.planting import plant
from tines import _native

LENGTH = 20_000
PRODUCERS, CONSUMERS = 2, 3


class Arena:
    """Some producers and consumers of one ring, and their replacements."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.segment = _native.create_segment(1 << 36)
        self.ring = self.segment.ring(self.chance.choice((0, 1, 50)), 0, CONSUMERS)
        self.journal = Journal(PRODUCERS, CONSUMERS + 1, LENGTH)
        self.taken: list[tuple[int, int]] = []
        self.tally: Counter[str] = Counter()
        self.producers = [self.start_producer(n) for n in range(1, PRODUCERS + 1)]
        self.consumers = [self.start_consumer(n) for n in range(CONSUMERS)]

    def start_producer(self, producer: int) -> int:
        numbers = range(self.journal.count_of(producer), LENGTH)
        return spawn(partial(produce, self.ring, self.journal, producer, numbers, self.seed))

    def start_consumer(self, consumer: int) -> int:
        return spawn(partial(consume, self.ring, self.journal, consumer))

    def kill_one(self) -> None:
        """Kill one, account for its lease, reclaim sometimes at once, and replace it."""
        victim = self.chance.randrange(PRODUCERS + CONSUMERS)
        if victim < PRODUCERS:
            if self.end(self.producers, victim):
                self.producers[victim] = self.start_producer(victim + 1)
        else:
            consumer = victim - PRODUCERS
            self.end(self.consumers, consumer)
            self.look_at_lease(consumer)
            self.consumers[consumer] = self.start_consumer(consumer)

    def end(self, pids: list[int], index: int) -> bool:
        """Kill one; False if it had ended already."""
        pid = pids[index]
        if pid == 0:
            return False
        os.kill(pid, signal.SIGKILL)
        killed = wait_for(pid)
        self.tally["killed"] += killed
        if self.chance.random() < 0.5:
            self.segment.sweep(pid)
        pids[index] = 0
        return killed

    def look_at_lease(self, consumer: int) -> None:
        lease = self.ring.lease(consumer)
        if lease is not None:
            self.taken.append((consumer, lease[0]))
            self.ring.release(consumer)

    def abandon(self) -> None:
        """Kill all, after a failure."""
        for pid in filter(None, self.producers + self.consumers):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def finish(self) -> Counter[str]:
        for index in range(PRODUCERS):
            self.end(self.producers, index)
        self.ring.shutdown()
        for pid in self.consumers:
            assert not wait_for(pid)
        drain(self.ring, self.journal, CONSUMERS)
        census_is_clean(self.segment, rings=1)
        self.ring.close()
        census_is_clean(self.segment, rings=0)
        return self.tally + self.journal.account(self.taken)


def main(seed: str, seconds: str, fault: str = "") -> None:
    faulthandler.dump_traceback_later(float(seconds) + 20, exit=True)
    arena = Arena(int(seed))
    end = time.monotonic() + float(seconds)
    try:
        while time.monotonic() < end:
            time.sleep(arena.chance.random() * 0.02)  # the moment of a kill is random on purpose
            arena.kill_one()
        # Now that nobody is killed any more: a consumer that dies while it looks at a fault has not told.
        planted = plant(arena.segment, arena.ring, arena.journal, fault)
        tally = arena.finish()
    except AssertionError as error:
        arena.abandon()
        sys.exit(f"seed {seed}: {error}")
    del planted
    print("lost=0 twice=0", " ".join(f"{key}={value}" for key, value in sorted(tally.items())))


if __name__ == "__main__":
    main(*sys.argv[1:])
