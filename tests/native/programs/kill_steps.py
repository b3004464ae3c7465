"""Kill a process at one step of the core, in each of its roles; fail if anybody else notices.

kill_steps.py STEP COUNTDOWN... prints a line with what happened for each role and countdown. With
PLANT=FAULT in the environment (lost, twice, torn or leak) that fault is there, and has to be found.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import tines.transport.ring  # noqa: F401  registers the fork hooks
from programs.actors import census_is_clean, consume, drain, produce, produce_many, spawn, wait_for
from programs.journal import Journal
from programs.planting import plant
from tines import _native

LENGTH = 600
PRODUCERS, CONSUMERS = 3, 3
LAST = CONSUMERS - 1  # the parent's own


class Scene:
    """One ring with its journal, and what has happened to it."""

    def __init__(self, max_items: int = 0) -> None:
        self.segment = _native.create_segment(1 << 32)
        self.ring = self.segment.ring(max_items, 0, CONSUMERS)
        self.journal = Journal(PRODUCERS, CONSUMERS, LENGTH)
        self.taken: list[tuple[int, int]] = []
        self.killed = 0

    def produce(self, producer: int, count: int) -> Callable[[], None]:
        return partial(produce, self.ring, self.journal, producer, range(count))

    def produce_many(self, producer: int, count: int) -> Callable[[], None]:
        return partial(produce_many, self.ring, self.journal, producer, range(count))

    def consume(self, consumer: int) -> Callable[[], None]:
        return partial(consume, self.ring, self.journal, consumer)

    def victim(self, pid: int, consumer: int | None = None) -> None:
        """Wait for one that may have been killed, and look at its lease as a supervisor would."""
        killed = wait_for(pid)
        self.killed += killed
        if killed and consumer is not None:
            self.look_at_lease(consumer)

    def look_at_lease(self, consumer: int) -> None:
        lease = self.ring.lease(consumer)
        if lease is not None:
            self.taken.append((consumer, lease[0]))

    def finish(self) -> Counter[str]:
        """Drain, close, and compare: nothing lost, twice, torn or leaked."""
        planted = plant(self.segment, self.ring, self.journal, os.environ.get("PLANT", ""))
        drain(self.ring, self.journal, LAST)
        assert self.ring.qsize() == 0
        census_is_clean(self.segment, rings=1)
        self.ring.close()
        census_is_clean(self.segment, rings=0)
        tally = self.journal.account(self.taken)
        tally["killed"] += self.killed
        del planted
        return tally


def lonely_producer(step: str, countdown: int) -> Counter[str]:
    """A producer dies alone; the next one goes on."""
    scene = Scene()
    scene.victim(spawn(scene.produce(1, 60), step, countdown))
    assert not wait_for(spawn(scene.produce(2, 40)))
    return scene.finish()


def sender_of_many(step: str, countdown: int) -> Counter[str]:
    """A producer that sends many at once dies; the next one goes on."""
    scene = Scene()
    scene.victim(spawn(scene.produce_many(1, 100), step, countdown))
    assert not wait_for(spawn(scene.produce_many(2, 40)))
    return scene.finish()


def lonely_consumer(step: str, countdown: int) -> Counter[str]:
    """A consumer dies alone. Its lease is looked at late, after another has gone on."""
    scene = Scene()
    assert not wait_for(spawn(scene.produce(1, 120)))
    victim = spawn(scene.consume(0), step, countdown)
    scene.ring.shutdown()
    scene.killed += (killed := wait_for(victim))
    assert not wait_for(spawn(scene.consume(1)))
    if killed:
        scene.look_at_lease(0)
    return scene.finish()


def heir(step: str, countdown: int) -> Counter[str]:
    """One dies in the middle of sending, and whoever comes next while it clears up."""
    scene = Scene()
    assert wait_for(spawn(scene.produce(1, 60), "before_commit", 20))
    scene.victim(spawn(scene.produce(2, 60), step, countdown))
    assert not wait_for(spawn(scene.produce(3, 40)))
    return scene.finish()


def sweeper(step: str, countdown: int) -> Counter[str]:
    """One dies with blocks in its hands, and whoever gives them back as well."""
    scene = Scene()
    assert wait_for(spawn(scene.produce(1, 60), "after_commit", 30))
    assert wait_for(spawn(scene.consume(0), "handed_over", 3))
    scene.look_at_lease(0)
    scene.victim(spawn(lambda: scene.segment.sweep(0), step, countdown))
    assert not wait_for(spawn(scene.produce(2, 40)))
    return scene.finish()


def busy_producer(step: str, countdown: int) -> Counter[str]:
    """One of several producers of a bounded ring dies, while others send and receive."""
    return _busy((step, countdown), ())


def busy_consumer(step: str, countdown: int) -> Counter[str]:
    """The same with one of several consumers."""
    return _busy((), (step, countdown))


def _busy(producer: tuple[Any, ...], consumer: tuple[Any, ...]) -> Counter[str]:
    scene = Scene(max_items=20)
    producers = [spawn(scene.produce(1, 120), *producer), spawn(scene.produce(2, 120))]
    consumers = [spawn(scene.consume(0), *consumer), spawn(scene.consume(1))]
    for pid in producers:
        scene.victim(pid)
    scene.ring.shutdown()
    assert not wait_for(consumers[1])
    scene.victim(consumers[0], consumer=0)
    return scene.finish()


ROLES = (
    lonely_producer,
    sender_of_many,
    lonely_consumer,
    heir,
    sweeper,
    busy_producer,
    busy_consumer,
)


def main(step: str, *countdowns: str) -> None:
    faulthandler.dump_traceback_later(50, exit=True)
    tally: Counter[str] = Counter()
    for role in ROLES:
        for countdown in map(int, countdowns):
            try:
                tally += role(step, countdown)
            except AssertionError as error:
                sys.exit(f"{role.__name__} killed at {step}, pass {countdown}: {error}")
    print(" ".join(f"{key}={value}" for key, value in sorted(tally.items())))
    if not tally["killed"]:
        sys.exit(f"no process ever passes the step {step}: the test shows nothing")


if __name__ == "__main__":
    main(*sys.argv[1:])
