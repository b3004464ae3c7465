"""A model of the ring's commit and recovery protocol, explored exhaustively.

Two producers and two consumers run the steps of ``native/core/ring.c``, one shared store at a time, in
every interleaving, and each may be killed between any two of its steps. In every state that can be
reached the explorer checks what ``docs/design/ring.md`` promises:

* whole: each message between the two counts has a complete record, and its block is the ring's;
* once: no message is taken by two, and what ``send`` returned from is in the queue or was taken;
* honest: the lease of a dead consumer shows the message that it took, and never one that it did not;
* live: whoever is alive can always go on;

and where all have ended, after one sweep: no block is leaked.

What is left out: chunks (a record has a place of its own), wakes, bounds, and revoking.

``python ring_model.py`` explores the protocol; ``--plant FAULT`` explores it with a fault, which has to
be found, and prints the steps that lead to it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["FAULTS", "Violation", "explore"]

FAULTS = {
    "commit-before-payload": "put_count is advanced before the record is written",
    "take-before-lease": "get_count is advanced before the lease is written",
    "lease-survives": "a lease whose message was not taken is not emptied by the next holder of the lock",
    "collect-by-seq": "a block is kept if its seq is in the queue, though no record leads to it",
    "one-tail": "the place of the next record is kept once, and not once for each count",
    "no-collect": "the next holder of a dead one's lock collects nothing",
    "seen-ahead": "consumers remember one message more than they have seen committed",
}

FREE = ("free",)
IDLE = (0, 0, False)  # a lease: seq, tag, busy


class Violation(Exception):
    """A promise that is broken in some state."""


@dataclass(frozen=True)
class Size:
    """How much there is to explore: the messages of each producer, the consumers, the kills."""

    messages: tuple[int, ...] = (1, 2)
    consumers: int = 2
    kills: int = 2


class World:
    """One state: what is shared, and where each process stands. ``freeze`` gives its identity."""

    __slots__ = (
        "block", "get", "get_lock", "head", "kills", "lease", "local", "more", "orphans", "pc", "put",
        "put_lock", "record", "returned", "seen", "tail", "taken",
    )  # fmt: skip

    def __init__(self, size: Size) -> None:
        actors = len(size.messages) + size.consumers
        total = sum(size.messages)
        self.put = self.get = 0
        self.seen = 0  # a `put` of some moment, for the holders of get_lock
        self.tail, self.head = [0, 0], [0, 0]
        self.put_lock = self.get_lock = None  # who holds it; negative: one who died with it
        self.orphans = False
        self.record: list[tuple[int, int] | None] = [None] * (total + 1)  # (seq, tag); -1: half
        self.block: list[tuple[object, ...]] = [FREE] * total  # by tag: one message, one block
        self.lease = [IDLE] * size.consumers
        self.more = [False] * size.consumers  # whether its last message left others behind
        self.pc = ["start"] * actors
        self.local = [(0, 0)] * actors  # (seq, tag) of the message at hand
        self.returned: list[int] = []  # tags whose send has returned
        self.taken: list[tuple[int, int]] = []  # (tag, who), by the step that counts
        self.kills = size.kills

    def copy(self) -> World:
        other = World.__new__(World)
        for name in World.__slots__:
            value = getattr(self, name)
            setattr(other, name, value[:] if isinstance(value, list) else value)
        return other

    def freeze(self) -> tuple[object, ...]:
        values = (getattr(self, name) for name in World.__slots__)
        return tuple(tuple(value) if isinstance(value, list) else value for value in values)


class Model:
    """The steps of each process, with at most one planted fault."""

    def __init__(self, size: Size, fault: str = "") -> None:
        self.size, self.fault = size, fault
        self.producers = len(size.messages)
        self.actors = self.producers + size.consumers
        starts = [sum(size.messages[:n]) for n in range(self.producers + 1)]
        self.tags = [range(a, b) for a, b in itertools.pairwise(starts)]

    # The protocol: each of these changes shared memory once.

    def step(self, w: World, me: int) -> str | None:
        """Do the next step of one process in ``w``; return its name, or None if it has to wait."""
        at = w.pc[me]
        if at in ("dead", "end") or not getattr(self, f"_{at}")(w, me):
            return None
        return at

    def _start(self, w: World, me: int) -> bool:
        if me >= self.producers:
            return self._lock_get(w, me)
        left = [tag for tag in self.tags[me] if tag not in w.returned]
        if not left:
            return self._go(w, me, "end")
        w.local[me] = (0, left[0])
        w.block[left[0]] = ("held", me)
        return self._go(w, me, "lock_put")

    def _lock_put(self, w: World, me: int) -> bool:
        if not self._acquire(w, me, "put_lock"):
            return False
        w.local[me] = (w.put, w.local[me][1])
        return self._go(w, me, "commit" if self.fault == "commit-before-payload" else "half")

    def _half(self, w: World, me: int) -> bool:
        seq, _ = w.local[me]
        w.record[w.tail[self._half_of(seq)]] = (seq, -1)
        return self._go(w, me, "send_block")

    def _send_block(self, w: World, me: int) -> bool:
        seq, tag = w.local[me]
        w.block[tag] = ("sent", seq)
        return self._go(w, me, "whole")

    def _whole(self, w: World, me: int) -> bool:
        seq, tag = w.local[me]
        w.record[w.tail[self._half_of(seq)]] = (seq, tag)
        return self._go(w, me, "move_tail")

    def _move_tail(self, w: World, me: int) -> bool:
        seq, _ = w.local[me]
        w.tail[self._half_of(seq + 1)] = w.tail[self._half_of(seq)] + 1
        return self._go(w, me, "unlock" if self.fault == "commit-before-payload" else "commit")

    def _commit(self, w: World, me: int) -> bool:
        w.put = w.local[me][0] + 1
        return self._go(w, me, "half" if self.fault == "commit-before-payload" else "unlock")

    def _lock_get(self, w: World, me: int) -> bool:
        if w.put == w.get and not w.more[me - self.producers]:
            # Empty: over once nobody can send any more.
            over = all(w.pc[p] in ("dead", "end") for p in range(self.producers))
            return over and self._go(w, me, "end")
        return self._acquire(w, me, "get_lock") and self._go(w, me, "look")

    def _look(self, w: World, me: int) -> bool:
        if not self._is_put(w, me):
            w.get_lock = None
            return self._go(w, me, "start")
        _, tag = w.record[w.head[w.get & 1]] or (-1, -1)
        w.local[me] = (w.get, tag)
        return self._go(w, me, "move_head" if self.fault == "take-before-lease" else "write_lease")

    def _write_lease(self, w: World, me: int) -> bool:
        w.lease[me - self.producers] = (*w.local[me], True)
        return self._go(w, me, "hand_over" if self.fault == "take-before-lease" else "move_head")

    def _move_head(self, w: World, me: int) -> bool:
        seq, _ = w.local[me]
        w.head[(seq + 1) & 1] = w.head[seq & 1] + 1
        return self._go(w, me, "take")

    def _take(self, w: World, me: int) -> bool:
        w.get = w.local[me][0] + 1
        w.taken.append((w.local[me][1], me))
        return self._go(w, me, "write_lease" if self.fault == "take-before-lease" else "look_on")

    def _look_on(self, w: World, me: int) -> bool:
        self._is_put(w, me)
        return self._go(w, me, "hand_over")

    def _is_put(self, w: World, me: int) -> bool:
        """Whether there is one to take next, by what has been seen if that is enough."""
        if w.seen <= w.get:
            w.seen = w.put + (self.fault == "seen-ahead")
        w.more[me - self.producers] = w.seen > w.get
        return w.seen > w.get

    def _hand_over(self, w: World, me: int) -> bool:
        w.block[w.local[me][1]] = ("held", me)
        return self._go(w, me, "unlock")

    def _unlock(self, w: World, me: int) -> bool:
        if me < self.producers:
            w.put_lock = None
        else:
            w.get_lock = None
        return self._go(w, me, "collect_put" if w.orphans else "after")

    def _collect_put(self, w: World, me: int) -> bool:
        return self._acquire(w, me, "put_lock") and self._go(w, me, "collect_get")

    def _collect_get(self, w: World, me: int) -> bool:
        return self._acquire(w, me, "get_lock") and self._go(w, me, "collect")

    def _collect(self, w: World, me: int) -> bool:
        self.collect(w)
        return self._go(w, me, "collected")

    def _collected(self, w: World, me: int) -> bool:
        w.put_lock = w.get_lock = None
        return self._go(w, me, "after")

    def _after(self, w: World, me: int) -> bool:
        """``send`` or ``recv`` returns; a consumer is done with its message at once."""
        _, tag = w.local[me]
        if me < self.producers:
            w.returned.append(tag)
            w.returned.sort()
        else:
            w.lease[me - self.producers] = IDLE
            w.block[tag] = FREE
        w.local[me] = (0, 0)
        return self._go(w, me, "start")

    # Locks, deaths and what is done about them.

    def _half_of(self, seq: int) -> int:
        return 0 if self.fault == "one-tail" else seq & 1

    @staticmethod
    def _go(w: World, me: int, to: str) -> bool:
        w.pc[me] = to
        return True

    def _acquire(self, w: World, me: int, lock: str) -> bool:
        holder = getattr(w, lock)
        if holder is not None and holder >= 0:
            return False
        setattr(w, lock, me)
        if holder is not None:
            self.inherited(w, lock)
        return True

    def inherited(self, w: World, lock: str) -> None:
        w.orphans = self.fault != "no-collect"
        if lock == "get_lock" and self.fault != "lease-survives":
            w.lease = [lease if lease[0] < w.get else IDLE for lease in w.lease]

    def collect(self, w: World) -> None:
        """Free the ring's blocks that its records do not lead to."""
        linked, place = set(), w.head[w.get & 1]
        for _ in range(w.get, w.put):
            entry = w.record[place]
            linked.add(entry[1] if entry else -1)
            place += 1
        for tag, block in enumerate(w.block):
            if block[0] != "sent":
                continue
            by_seq = w.get <= block[1] < w.put  # type: ignore[operator]
            if not (by_seq if self.fault == "collect-by-seq" else tag in linked):
                w.block[tag] = FREE
        w.orphans = False

    @staticmethod
    def kill(w: World, me: int) -> None:
        """Kill a process: the kernel marks the locks that it held."""
        w.pc[me] = "dead"
        w.kills -= 1
        for lock in ("put_lock", "get_lock"):
            if getattr(w, lock) == me:
                setattr(w, lock, -1 - me)

    def sweep(self, w: World) -> None:
        """Nobody is left: what the dead held is given back, and their locks are looked at."""
        for tag, block in enumerate(w.block):
            if block[0] == "held" and w.pc[block[1]] == "dead":  # type: ignore[call-overload]
                w.block[tag] = FREE
        for lock in ("put_lock", "get_lock"):
            if getattr(w, lock) is not None:
                setattr(w, lock, None)
                self.inherited(w, lock)
        if w.orphans:
            self.collect(w)

    # The promises.

    def check(self, w: World) -> None:
        """Check what must hold in every state."""
        if w.get > w.put:
            raise Violation(f"{w.get} messages were taken, and {w.put} committed")
        place = w.head[w.get & 1]
        waiting = []
        for seq in range(w.get, w.put):
            entry = w.record[place]
            if entry is None or entry[0] != seq or entry[1] < 0:
                raise Violation(f"message {seq} is committed, and its record is {entry}")
            if w.block[entry[1]][0] != "sent":
                raise Violation(f"message {seq} is committed, and its block is {w.block[entry[1]]}")
            waiting.append(entry[1])
            place += 1
        taken = [tag for tag, _ in w.taken]
        if len(set(taken + waiting)) < len(taken + waiting):
            raise Violation(f"twice: taken {taken}, waiting {waiting}")
        lost = set(w.returned) - set(taken) - set(waiting)
        if lost:
            raise Violation(f"lost: {lost} had been sent")
        self._check_leases(w)

    def _check_leases(self, w: World) -> None:
        for consumer, (seq, tag, busy) in enumerate(w.lease):
            me = consumer + self.producers
            if w.pc[me] != "dead":
                continue
            shown = tag if busy and seq < w.get else None
            if shown is not None and (shown, me) not in w.taken:
                raise Violation(
                    f"the lease of consumer {consumer} shows {shown}, which it never took"
                )
            for tag, block in enumerate(w.block):
                if block == ("held", me) and (tag, me) in w.taken and shown != tag:
                    raise Violation(
                        f"consumer {consumer} died with {tag}, and its lease shows {shown}"
                    )
            mine = [tag for tag, who in w.taken if who == me]
            if mine and w.local[me][1] == mine[-1] and w.local[me] != (0, 0) and shown != mine[-1]:
                raise Violation(
                    f"consumer {consumer} died with {mine[-1]}; its lease shows {shown}"
                )

    def check_end(self, w: World) -> None:
        """Check a state in which nobody can go on."""
        stuck = [me for me, at in enumerate(w.pc) if at not in ("dead", "end")]
        if stuck:
            raise Violation(f"processes {stuck} wait for ever, at {[w.pc[me] for me in stuck]}")
        w = w.copy()
        self.sweep(w)
        leaked = [tag for tag, block in enumerate(w.block) if block != FREE]
        if len(leaked) != w.put - w.get:
            raise Violation(f"leaked: blocks {leaked}, with {w.put - w.get} messages in the queue")

    def successors(self, w: World) -> Iterator[tuple[str, World]]:
        """Every next state: each process does a step, or is killed."""
        for me in range(self.actors):
            after = w.copy()
            name = self.step(after, me)
            if name is not None:
                yield f"{self.name(me)}: {name}", after
            if w.kills and w.pc[me] not in ("dead", "end"):
                after = w.copy()
                self.kill(after, me)
                yield f"{self.name(me)} is killed", after

    def name(self, me: int) -> str:
        return f"producer {me}" if me < self.producers else f"consumer {me - self.producers}"


def explore(size: Size = Size(), fault: str = "") -> int:
    """Visit every state that can be reached; return how many there are.

    Raises:
        Violation: a promise is broken; the message ends with the steps that lead there.
    """
    model = Model(size, fault)
    start = World(size)
    came_from: dict[tuple[object, ...], tuple[tuple[object, ...], str] | None] = {
        start.freeze(): None
    }
    todo = deque([start])
    while todo:
        world = todo.popleft()  # nearest first, so that the path to a violation is a short one
        frozen = world.freeze()
        try:
            model.check(world)
            live = False
            for label, after in model.successors(world):
                live = live or not label.endswith("killed")
                key = after.freeze()
                if key not in came_from:
                    came_from[key] = (frozen, label)
                    todo.append(after)
            if not live:
                model.check_end(world)
        except Violation as violation:
            raise Violation(f"{violation}\n" + "\n".join(_path(came_from, frozen))) from None
    return len(came_from)


def _path(
    came_from: dict[tuple[object, ...], tuple[tuple[object, ...], str] | None],
    state: tuple[object, ...],
) -> list[str]:
    labels = []
    while (origin := came_from[state]) is not None:
        state, label = origin
        labels.append(f"  {label}")
    return labels[::-1]


def main() -> None:
    """Explore, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plant", choices=sorted(FAULTS), default="", help="a fault to plant")
    parser.add_argument("--messages", type=int, nargs="+", default=[1, 2], help="of each producer")
    parser.add_argument("--kills", type=int, default=2, help="how many processes may be killed")
    options = parser.parse_args()
    try:
        states = explore(Size(tuple(options.messages), kills=options.kills), options.plant)
    except Violation as violation:
        sys.exit(f"{violation}")
    print(f"{states} states, and every promise is kept in each")


if __name__ == "__main__":
    main()
