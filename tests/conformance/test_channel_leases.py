"""Leases: what a slot holds, how far it is, for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from channel_tools import EARLY
from tines.transport.contract import Transport


def test_a_lease_tells_what_is_held(transport: Transport) -> None:
    channel = transport.channel(leases=2)
    assert channel.lease(0) is None
    assert channel.lease(1) is None
    channel.send(b"", tag=2**64 - 1)
    channel.send(b"", tag=7)
    before = time.monotonic()
    channel.recv(0, lease=1)
    channel.recv(0, lease=0)
    after = time.monotonic()
    for index, tag in ((1, 2**64 - 1), (0, 7)):
        lease = channel.lease(index)
        assert lease is not None
        assert (lease.tag, lease.progress) == (tag, 0)
        assert before - EARLY <= lease.since <= after + EARLY
    seen = []
    for item in channel.ticking(iter("abc"), 1):
        lease = channel.lease(1)
        assert lease is not None
        seen.append((item, lease.progress))
    assert seen == [("a", 1), ("b", 2), ("c", 3)]
    assert channel.lease(0).progress == 0  # type: ignore[union-attr]
    channel.release(1)
    assert channel.lease(1) is None
    assert channel.lease(0) is not None
    channel.send(b"", tag=9)
    channel.recv(0, lease=1)
    assert channel.lease(1)[:2] == (9, 0)  # type: ignore[index]


def test_how_long_a_slot_is_held_adds_up(transport: Transport) -> None:
    channel = transport.channel(leases=2)
    before = time.monotonic()
    total = 0.0
    for _ in range(3):
        channel.send(b"")
        channel.recv(0, lease=1)
        begun = channel.held(1)
        assert begun >= total
        time.sleep(0.02)
        total = channel.held(1)
        assert total >= begun + 0.02 - EARLY
        channel.release(1)
        released = channel.held(1)
        assert total <= released <= time.monotonic() - before + EARLY
        total = released
        channel.release(1)
        assert channel.held(1) == released, "released twice, counted once"
    assert channel.held(0) == 0.0
    with pytest.raises(ValueError, match="lease"):
        channel.held(2)


def test_ticking_pulls_one_item_at_a_time(transport: Transport) -> None:
    channel = transport.channel(leases=1)
    channel.send(b"")
    channel.recv(0, lease=0)
    pulled = []

    def source() -> Iterator[int]:
        for n in range(3):
            pulled.append(n)
            yield n
        raise LookupError("the source's own")

    iterator = channel.ticking(source(), 0)
    assert next(iterator) == 0
    assert pulled == [0]
    assert [next(iterator), next(iterator)] == [1, 2]
    with pytest.raises(LookupError):
        next(iterator)
    assert channel.lease(0).progress == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("index", [2, 1000])
def test_a_lease_slot_that_does_not_exist_is_refused(transport: Transport, index: int) -> None:
    channel = transport.channel(leases=2)
    channel.send(b"")
    for call in (
        lambda: channel.recv(0, lease=index),
        lambda: channel.lease(index),
        lambda: channel.release(index),
        lambda: list(channel.ticking([1], index)),
    ):
        with pytest.raises((ValueError, IndexError)):
            call()
    assert channel.qsize() == 1
