"""Helpers of the conformance suite: what waits, threads that run meanwhile, messages that must come."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tines.transport.contract import Channel, Message, Transport

Finish = Callable[..., None]
"""Join processes, which must have ended well: the fixture ``finish``."""

WAIT = 30.0
"""Seconds for a message that must come."""

Wait = Callable[[Channel, float], object]

# On a busy machine a thread may get its turn late, but never early.
EARLY = 0.002
LATE = 20.0


def _bounded_send(channel: Channel, timeout: float) -> object:
    return channel.send(b"x", timeout=timeout)


def _bounded_send_many(channel: Channel, timeout: float) -> object:
    return channel.send_many([(0, 0, b"x", ())] * 3, timeout)


# What waits, on a channel that has nothing to give and no room, and what it returns in the end.
RECEIVES: dict[str, tuple[Wait, object]] = {
    "recv": (lambda channel, timeout: channel.recv(timeout), None),
    "leased": (lambda channel, timeout: channel.recv(timeout, lease=0), None),
    "recv_many": (lambda channel, timeout: channel.recv_many(3, timeout), []),
}
SENDS: dict[str, tuple[Wait, object]] = {
    "send": (_bounded_send, -1),
    "send_many": (_bounded_send_many, 0),
    "join": (lambda channel, timeout: channel.join(timeout), False),
}


def has_length(items: list[Any], length: int) -> bool:
    return len(items) == length


@contextlib.contextmanager
def running(*targets: Callable[[], object]) -> Iterator[None]:
    """Run functions in threads meanwhile; what they raise is raised here."""
    errors: list[BaseException] = []

    def run(target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(target,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def blocked_channel(transport: Transport, name: str) -> Channel:
    """Return a channel on which the call of that name has to wait."""
    channel = transport.channel(max_items=1, leases=1)
    if name in SENDS:
        channel.send(b"full")
    return channel


def must(message: Message | None) -> Message:
    """Return a message that has come."""
    assert message is not None
    return message
