"""Queues, pools and processes where something has run out: descriptors, memory, room in ``/dev/shm``.

Each scene is played in a child of its own, which takes the thing away from itself, goes on working,
and, where that is possible, gets it back and works once more. A call may then fail, with an error that
is an ``OSError`` or a ``MemoryError`` and leaves nothing behind; what it did not refuse has to arrive.

Memory is limited with rlimits. A limit by cgroup, under which the kernel kills instead of refusing, is
what the kills of the other rigs stand for.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import time
from collections.abc import Callable
from typing import Any

import tines
from chaos import faults
from chaos.leaks import Baseline
from chaos.tally import Report, Tally
from tines.errors import DecodeError, ProcessLostError, WaitTimeout
from tines.transport import named

__all__ = ["run"]

PATIENCE = 60.0
MB = 1 << 20
REFUSALS = (OSError, MemoryError)
SIZES = (10, 5000, 100_000, 3 * MB, 20 * MB)


def payload_of(number: int) -> bytes:
    """The bytes of a message follow from its number."""
    return number.to_bytes(8, "little") * (SIZES[number % len(SIZES)] // 8)


def answer(number: int) -> int:
    """What a task or process does."""
    return number + 1


def allocate(size: int) -> int:
    """Need memory that may not be there."""
    return len(bytes(size))


class Scene:
    """Works with a queue, processes and a pool, and counts what comes of it."""

    def __init__(self, transport: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.transport = transport
        self.context = tines.get_context("fork")
        self.queue: Any = tines.Queue(transport=transport)
        self.tally = Tally()

    def attempt(self, work: Callable[[], int], wanted: int) -> None:
        """Count a call that may be refused for want of something."""
        self.tally.submitted += 1
        try:
            self.tally.torn += work() != wanted
            self.tally.delivered += 1
        except WaitTimeout:
            self.tally.hung += 1
        except REFUSALS:
            self.tally.submitted -= 1
            self.tally.refused += 1

    def send(self, count: int) -> None:
        """Put messages, and get as many as were taken."""
        sent = []
        for _ in range(count):
            number = self.chance.randrange(10**6)
            try:
                self.queue.put(payload_of(number))
            except REFUSALS:
                self.tally.refused += 1
            else:
                sent.append(number)
        self.tally.submitted += len(sent)
        for number in sent:
            self.receive(number)
        self.tally.lost += self.queue.qsize()

    def receive(self, number: int) -> None:
        try:
            self.tally.torn += self.queue.get(timeout=PATIENCE) != payload_of(number)
            self.tally.delivered += 1
        except (DecodeError, MemoryError):  # no memory for what it unpickles to: costs this message
            self.tally.failed += 1
        except REFUSALS:
            self.tally.lost += 1

    def run_process(self) -> int:
        process = self.context.Process(target=answer, args=(1,), returns=True)
        process.start()
        try:
            return int(process.result(PATIENCE))
        finally:
            process.join()
            process.close()

    def run_pool(self) -> int:
        with tines.Pool(2, context=self.context, transport=named(self.transport)) as pool:
            return int(pool.apply_async(answer, (1,)).get(PATIENCE))

    def make_queue(self) -> int:
        queue: Any = tines.Queue(transport=self.transport)
        try:
            queue.put(2)
            return int(queue.get(timeout=PATIENCE))
        finally:
            queue.close()

    def work(self) -> None:
        """Do everything once, in any order."""
        doings = [self.run_process, self.run_pool, self.make_queue, lambda: self.send(5) or 2]
        self.chance.shuffle(doings)
        for each in doings:
            self.attempt(each, 2)  # type: ignore[arg-type]


def without_descriptors(scene: Scene) -> None:
    """Some are left, or none; then there are enough again."""
    scene.work()  # what is made once is there by now
    before = Baseline.take()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    extra = faults.few_descriptors(scene.chance.choice((0, 1, 2, 3, 5, 8, 12, 20)))
    for _ in range(3):
        scene.work()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for descriptor in extra:
        os.close(descriptor)
    refused = scene.tally.refused
    scene.work()
    scene.tally.torn += scene.tally.refused - refused  # there is no reason to refuse any more
    before.compare(scene.tally)


def without_memory(scene: Scene) -> None:
    """In this process, and in the workers of a pool."""
    limit = scene.chance.randrange(8 * MB, 64 * MB)
    with tines.Pool(
        2,
        faults.little_memory,
        (limit,),
        context=scene.context,
        transport=named(scene.transport),
    ) as pool:
        for size in (10, 10 * limit, 1000, 20 * limit):
            scene.attempt(lambda: pool.apply_async(allocate, (size,)).get(PATIENCE), size)  # noqa: B023
    faults.little_memory(limit)
    for _ in range(3):
        scene.send(8)
        scene.attempt(scene.run_process, 2)


def without_room(scene: Scene) -> None:
    """``/dev/shm`` is full: what needs it is refused, and the rest does not need it."""
    if faults.no_room_in_dev_shm(scene.chance):
        for _ in range(3):
            scene.work()
            scene.attempt(lambda: _use_lock(scene.context), 2)


def _use_lock(context: Any) -> int:
    with context.Lock():
        return 2


SCENES = (without_memory, without_room, without_descriptors)


def play(scene: Callable[[Scene], None], transport: str, seed: int) -> Tally:
    """What a child does."""
    stage = Scene(transport, seed)
    scene(stage)
    stage.queue.close()
    return stage.tally


class Rig:
    """One scene after the other, each in a child of its own."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.context = tines.get_context("fork")
        self.tally = Tally()

    def play_one(self, transport: str, scene: Callable[[Scene], None]) -> None:
        seed = self.chance.randrange(10**9)
        process = self.context.Process(target=play, args=(scene, transport, seed), returns=True)
        process.start()
        try:
            self.tally.add(process.result(PATIENCE))
        except WaitTimeout:
            self.tally.hung += 1
            process.kill()
        except ProcessLostError:
            self.tally.crashed += 1
        process.join()
        process.close()

    def plant(self, fault: str) -> None:
        self.tally.submitted += fault == "lost"
        self.tally.delivered += fault == "twice"
        self.tally.torn += fault == "torn"
        if fault == "leak":
            faults.leak_descriptor()

    def finish(self, fault: str) -> Tally:
        self.plant(fault)
        tally = self.tally
        settled = tally.delivered + tally.failed + tally.hung
        tally.lost += max(0, tally.submitted - settled)
        tally.twice += max(0, settled - tally.submitted)
        return tally


def _transports() -> list[str]:
    try:
        return [named("ring").name, "pipe"]
    except ImportError:
        return ["pipe"]


def run(seconds: float, seed: int, plant: str, report: Report) -> Tally:
    """Run the rig for some seconds, one scene at least."""
    transports = _transports()
    warm = Rig(0)
    warm.play_one("pipe", without_room)
    if not warm.tally.submitted:
        print("chaos scarce: a /dev/shm of its own is not allowed here: not tried", flush=True)
    baseline = Baseline.take()
    rig = Rig(seed)
    end = time.monotonic() + seconds
    for transport, scene in itertools.cycle(itertools.product(transports, SCENES)):
        if rig.tally.submitted and time.monotonic() >= end:
            break
        rig.play_one(transport, scene)
        report(rig.tally)
    tally = rig.finish(plant)
    baseline.compare(tally)
    return tally
