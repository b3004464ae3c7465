"""The processes of the kill tests: forked, journalled, and ended without cleaning up."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from programs.journal import (
    REVOKED,
    REVOKING,
    SENDING,
    SENT,
    Journal,
    buffers_of,
    check_message,
    data_of,
)
from tines import _native
from tines.errors import QueueShutDown

__all__ = ["census_is_clean", "consume", "drain", "produce", "produce_many", "spawn", "wait_for"]

FAILED = 1
SETTLE = float(os.environ.get("SETTLE", "15"))
"""Seconds until what was held for a child that was killed right after its fork has to be free."""


def spawn(work: Callable[[], None], step: str | None = None, countdown: int = 0) -> int:
    """Fork a child that does ``work``, and kills itself at a step if one is given."""
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    try:
        if step is not None:
            _native.crash_at(step, countdown)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait_for(pid: int) -> bool:
    """Wait for a child; True if it was killed. One that failed has printed why."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"a child got signal {os.WTERMSIG(status)}"
        return True
    assert os.WEXITSTATUS(status) == 0, f"child {pid} failed"
    return False


def produce(ring: Any, journal: Journal, producer: int, numbers: range, seed: int = 0) -> None:
    """Send messages; take some of them back."""
    chance = random.Random(seed * 1000 + producer)
    for number in numbers:
        tag = journal.tag(producer, number)
        journal.note(tag, SENDING)
        ticket = ring.send(data_of(tag), buffers_of(tag), 0, tag)
        journal.note(tag, SENT)
        if chance.random() < 0.1:
            journal.note(tag, REVOKING)
            journal.note(tag, REVOKED if ring.revoke(ticket) else SENT)


def produce_many(ring: Any, journal: Journal, producer: int, numbers: range) -> None:
    """Send messages several at a time: when this dies, some from the first on have been sent."""
    for start in numbers[::20]:
        tags = [journal.tag(producer, number) for number in numbers if start <= number < start + 20]
        for tag in tags:
            journal.note(tag, SENDING)
        tickets: list[int] = []
        ring.send_many(
            [(0, tag, data_of(tag), tuple(buffers_of(tag))) for tag in tags], None, tickets
        )
        assert len(tickets) == len(tags)
        for tag in tags:
            journal.note(tag, SENT)
        journal.note(tags[0], REVOKING)
        journal.note(tags[0], REVOKED if ring.revoke(tickets[0]) else SENT)


def consume(ring: Any, journal: Journal, consumer: int) -> None:
    """Receive under a lease until the ring is shut down."""
    count = len(journal.log_of(consumer))
    try:
        while True:
            message = ring.recv(None, consumer)
            journal.received(consumer, count, message[1])
            ring.release(consumer)
            check_message(message)
            count += 1
    except QueueShutDown:
        pass


def drain(ring: Any, journal: Journal, consumer: int) -> None:
    """Receive what is left, in this process."""
    count = len(journal.log_of(consumer))
    try:
        while (message := ring.recv(0)) is not None:
            journal.received(consumer, count, message[1])
            check_message(message)
            count += 1
    except QueueShutDown:
        pass


def census_is_clean(segment: Any, rings: int) -> None:
    """Fail if a block, a reference or a page is held that nobody can use any more."""
    wanted = {"held": 0, "sent": 0, "chunks": rings, "rings": rings, "references": rings}
    deadline = time.monotonic() + SETTLE
    while (found := _census(segment, wanted)) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == wanted, f"leaked: {found}, and it should be {wanted}"
    segment.trim()
    assert segment.census()["bytes_cached"] == 0
    pages = os.fstat(segment.fd).st_blocks * 512
    limit = (1 << 20) + rings * (1 << 18)  # the header, slots and descriptors in use
    assert pages < limit, f"leaked: {pages} bytes of pages in free blocks that do not know of them"


def _census(segment: Any, keys: Iterable[str]) -> dict[str, int]:
    segment.sweep(0)
    census = segment.census()
    return {key: census[key] for key in keys}
