"""What each process did, written where it survives the process: the ground truth of the kill tests.

A journal is anonymous shared memory. A producer notes the state of each message before and after
each call, a consumer each message that it received, by single 8-byte stores; so after any death it
is known what was certainly done, certainly not done, and the one thing that was in progress.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Journal", "buffers_of", "check_message", "data_of"]

NOTHING, SENDING, SENT, REVOKING, REVOKED = range(5)

# Inline of every kind; just below and above where a payload gets a block; several chunks' worth.
_SIZES = (0, 8, 200, 3000, 16_384, 16_392, 70_000)
# Some of a kind that is packed, in several packs, and one that is not.
_BUFFER_SIZES = (8, 20_000, 200_000, *[50_000] * 12)
_BUFFER_COUNTS = (0, 1, 2, len(_BUFFER_SIZES))


def _pattern(tag: int, size: int) -> bytes:
    return tag.to_bytes(8, "little") * (size // 8)


def data_of(tag: int) -> bytes:
    """The payload of a message: its tag over and over."""
    return _pattern(tag, _SIZES[tag * 7 % 11 % len(_SIZES)])


def buffers_of(tag: int) -> list[bytes]:
    """The buffers of a message; most have none."""
    return [_pattern(tag, _BUFFER_SIZES[i]) for i in range(_BUFFER_COUNTS[tag * 5 % 13 % 4])]


def check_message(message: Sequence[Any]) -> None:
    """Fail if a message is torn or not the one that its tag says."""
    _, tag, data, buffers = message
    assert bytes(data) == data_of(tag), f"the data of message {tag:#x} is torn"
    assert [bytes(b) for b in buffers] == buffers_of(tag), f"a buffer of {tag:#x} is torn"


class Journal:
    """The journals of ``producers`` and ``consumers``, for up to ``length`` messages each."""

    def __init__(self, producers: int, consumers: int, length: int) -> None:
        self.length = length
        self._producers = range(1, producers + 1)
        self._consumers = range(producers + 1, producers + consumers + 1)
        self._words = memoryview(mmap.mmap(-1, 8 * length * (producers + consumers + 1))).cast("Q")

    def tag(self, producer: int, number: int) -> int:
        return producer * self.length + number

    def note(self, tag: int, state: int) -> None:
        self._words[tag] = state

    def received(self, consumer: int, count: int, tag: int) -> None:
        """Note the message that ``consumer`` (counted from 0) received as its ``count``-th."""
        self._words[self._consumers[consumer] * self.length + count] = tag

    def count_of(self, producer: int) -> int:
        """How many messages a producer has begun."""
        start = self.tag(producer, 0)
        states = self._words[start : start + self.length].tolist()
        return states.index(NOTHING) if NOTHING in states else self.length

    def log_of(self, consumer: int) -> list[int]:
        start = self._consumers[consumer] * self.length
        log = self._words[start : start + self.length].tolist()
        return log[: log.index(0)]

    def account(self, taken_by_the_dead: Iterable[tuple[int, int]]) -> Counter[str]:
        """Compare what was sent with what was received; fail on any difference.

        ``taken_by_the_dead``: dead consumers, each with the tag that lay under its lease.
        """
        where: dict[int, list[str]] = {}
        for consumer in range(len(self._consumers)):
            for tag in self.log_of(consumer):
                where.setdefault(tag, []).append(f"consumer {consumer}")
        for consumer, tag in taken_by_the_dead:
            found = where.setdefault(tag, [])
            if found != [f"consumer {consumer}"]:  # who may have noted it, but not released it
                found.append(f"the lease of the dead consumer {consumer}")
        tally: Counter[str] = Counter()
        for producer in self._producers:
            start = self.tag(producer, 0)
            for tag in range(start, start + self.length):
                self._account_one(tag, where.pop(tag, []), tally)
        assert not where, f"received, but never sent: {where}"
        return tally

    def _account_one(self, tag: int, places: list[str], tally: Counter[str]) -> None:
        state = self._words[tag]
        assert len(places) < 2, f"message {tag:#x} was received twice: {places}"
        if state == SENT:
            assert places, f"message {tag:#x} is lost"
        if state in (NOTHING, REVOKED):
            assert not places, f"message {tag:#x} (state {state}) was received by {places}"
        if state != NOTHING:
            tally["sent"] += state != SENDING
            tally["in progress"] += state in (SENDING, REVOKING)
            tally["revoked"] += state == REVOKED
            tally["delivered"] += bool(places)
