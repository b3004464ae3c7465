"""``queue._reader`` and ``_writer``: what programs wait for that know the standard library's insides."""

from __future__ import annotations

import os
import pickle
import select
import selectors
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest

import queue_children as children
from support.processes import Start
from support.waiting import wait_for
from tines.queues import JoinableQueue, Queue, SimpleQueue

MakeQueue = Callable[..., Queue[Any]]
ROUNDS = 300


def ready(queue: Any, timeout: float = 0) -> bool:
    return bool(wait([queue._reader], timeout))


def test_it_is_ready_exactly_while_there_is_something(make_queue: MakeQueue) -> None:
    queue = make_queue()
    assert not ready(queue)
    for taken in (1, 2, 3):
        for number in range(taken):
            queue.put(number)
        for number in range(taken):
            assert ready(queue, 30)
            assert queue.get() == number
        assert not ready(queue), "what was taken here is seen at once"
    queue.put(None)
    assert ready(queue, 30)
    assert queue.get_many(5) == [None]
    assert not ready(queue)


def test_whoever_waits_and_takes_in_turn_never_finds_nothing(
    make_queue: MakeQueue, start: Start
) -> None:
    """Two processes play ping-pong: each new item comes right behind the last one."""
    there, back = make_queue(), make_queue()
    start(children.answer_in_turn, there, back)
    with selectors.DefaultSelector() as selector:
        selector.register(back._reader, selectors.EVENT_READ)
        for number in range(ROUNDS):
            there.put(number)
            assert selector.select(30), f"nothing after {number} rounds"
            assert back.get(block=False) == number
    there.put(None)


def test_several_queues_at_once(make_queue: MakeQueue, start: Start) -> None:
    queues = [make_queue() for _ in range(3)]
    for who, queue in enumerate(queues):
        start(children.put_range, queue, who, 50)
    by_reader = {queue._reader: queue for queue in queues}
    got: list[Any] = []
    while len(got) < 150:
        found = wait(by_reader, 30)
        assert found
        got += [by_reader[reader].get(block=False) for reader in found]  # type: ignore[index]
    assert sorted(got) == [(who, i) for who in range(3) for i in range(50)]


def test_several_readers_share_the_items(make_queue: MakeQueue, start: Start) -> None:
    """Each process and thread waits and takes what it can; none is lost, and none waits in vain."""
    queue, results = make_queue(), make_queue()
    for _ in range(2):
        start(children.share, queue, results)
    for number in range(ROUNDS):
        queue.put(number)
    for _ in range(2):
        wait_for(queue.empty)
        queue.put(None)
    shares = [results.get(timeout=30) for _ in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(ROUNDS))


def test_what_another_process_takes_is_seen_as_well(make_queue: MakeQueue, start: Start) -> None:
    queue, results = make_queue(), make_queue()
    queue.put("item")
    assert ready(queue, 30)
    start(children.take_one, queue, results)
    assert results.get(timeout=30) == "item"
    wait_for(lambda: not ready(queue))
    queue.put("next")
    assert ready(queue, 30)


def test_a_queue_that_is_shut_down_is_ready_for_good(make_queue: MakeQueue) -> None:
    queue = make_queue()
    assert not ready(queue)
    queue.shutdown()
    for _ in range(2):
        assert ready(queue, 30)
        with pytest.raises(ValueError):
            queue.get()


def test_it_costs_nothing_while_nobody_asks(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.put(1)
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    assert queue._reader.poll()
    assert queue._reader.recv() == 1
    queue._writer.send(2)
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


@pytest.mark.parametrize("end", ["queue", "end"])
def test_the_descriptor_goes_when_its_end_is_closed(make_queue: MakeQueue, end: str) -> None:
    queue = make_queue()
    reader, writer = queue._reader, queue._writer
    descriptors = [reader.fileno(), writer.fileno()]
    assert select.select([], [writer], [], 30)[1] == [writer]
    if end == "queue":
        queue.close()
    else:
        reader.close()
        writer.close()
        queue.put("the queue itself is open")
        assert queue.get() == "the queue itself is open"
    assert reader.closed and writer.closed
    for descriptor in descriptors:
        with pytest.raises(OSError):
            os.fstat(descriptor)
    for use in (reader.fileno, reader.poll, reader.recv, writer.fileno, lambda: writer.send(1)):
        with pytest.raises(OSError, match="is closed"):
            use()


def test_they_carry_what_connections_carry(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue._writer.send_bytes(pickle.dumps("bytes that are a pickle"))
    assert queue.get() == "bytes that are a pickle"
    for item in ("text", b"bytes", bytearray(100_000)):
        queue.put(item)
        assert pickle.loads(queue._reader.recv_bytes()) == item
    queue.put("left")
    assert queue._reader.poll(None) and queue._poll()
    assert queue._reader.recv() == "left"
    assert not queue._reader.poll(0.01)


def test_what_a_program_puts_in_their_place_is_kept(make_queue: MakeQueue) -> None:
    """As subclasses do that wrap the ends, and name what they use of them as the standard library does."""
    queue: Any = make_queue()
    queue._reader = wrapped = [queue._reader]
    queue._recv = queue._send = None
    assert queue._reader is wrapped
    queue.put(1)
    assert queue.get() == 1


def test_simple_and_joinable_queues_have_them_too(make_simple: Any, make_joinable: Any) -> None:
    simple: SimpleQueue[Any] = make_simple()
    joinable: JoinableQueue[Any] = make_joinable()
    for queue in (simple, joinable):
        assert not ready(queue)
        queue.put(1)
        assert ready(queue, 30)
        assert queue.get() == 1
        assert not ready(queue)
    simple.close()
    assert simple._reader.closed and simple._writer.closed
    assert not isinstance(joinable._reader, Connection)
