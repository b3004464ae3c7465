"""Queues and locks on their way: whoever sent them may let go of them, or end, before they arrive."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import in_transit as children
import tines
from support.waiting import wait_for
from tines import transport as transports
from tines.queues import Queue

MakeQueue = Callable[..., Queue[Any]]
PATIENCE = 30.0

ring_only = pytest.mark.skipif(
    transports.choice().name != "ring",
    reason="the maker of a queue serves it on the pipe transport",
)


def test_put_and_let_go(make_queue: MakeQueue) -> None:
    post, sent = make_queue(), make_queue()
    sent.put("inside")
    post.put(sent)
    del sent
    gc.collect()
    assert post.get(timeout=PATIENCE).get(timeout=PATIENCE) == "inside"


def test_one_queue_in_another_in_another(make_queue: MakeQueue) -> None:
    post = make_queue()
    for depth in range(5):
        outer = make_queue()
        outer.put((depth, post))
        post = outer
        del outer
    for depth in reversed(range(5)):
        found, post = post.get(timeout=PATIENCE)
        assert found == depth


def test_a_task_returns_a_queue(method: str) -> None:
    with tines.get_context(method).Pool(1) as pool:
        queues = [pool.apply(children.queue_with_item), *pool.map(children.queue_with_item, "ab")]
        assert [queue.get(timeout=PATIENCE) for queue in queues] == ["inside", "a", "b"]


def test_a_task_is_given_a_queue_that_nobody_else_has(method: str) -> None:
    with tines.get_context(method).Pool(1) as pool:
        tasks = [
            pool.apply_async(children.read, (children.queue_with_item(str(i)),)) for i in range(3)
        ]
        assert [task.get(PATIENCE) for task in tasks] == ["0", "1", "2"]


@ring_only
def test_a_task_that_is_tried_again_is_given_its_queue_again(method: str) -> None:
    context = tines.get_context(method)
    with context.Pool(1) as pool:
        flag = context.Event()
        task = pool.apply_async(children.die_once, (children.queue_with_item(), flag), retries=1)
        assert task.get(PATIENCE) == "inside"


@ring_only
def test_the_sender_ends_before_it_arrives(method: str) -> None:
    context = tines.get_context(method)
    post = context.Queue()
    for target in (children.put_and_end, children.put_lock_and_end):
        process = context.Process(target=target, args=(post,))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == 0
    assert post.get(timeout=PATIENCE).get(timeout=PATIENCE) == "inside"
    with post.get(timeout=PATIENCE):
        pass


@ring_only
@pytest.mark.parametrize("make", [tines.Lock, tines.RLock, tines.Condition, tines.Event])
def test_a_lock_that_its_sender_has_let_go_of(make: Callable[[], Any]) -> None:
    post = tines.Queue()
    post.put(make())
    gc.collect()
    assert type(post.get(timeout=PATIENCE)) is type(make())


@pytest.fixture
def references() -> Iterator[Callable[[], int]]:
    """How many references to queues and locks there are; those of the dead are looked for first."""
    from tines.transport.segments import program

    segment = program.home()

    def count() -> int:
        gc.collect()
        segment.sweep(0)
        return segment.census()["references"]

    yield count


@ring_only
def test_what_is_never_received_is_not_leaked(references: Callable[[], int]) -> None:
    before = references()
    post = tines.Queue()
    for _ in range(20):
        post.put((children.queue_with_item(), tines.Lock()))
    assert references() > before
    del post
    assert references() == before


@ring_only
def test_a_killed_receiver_leaks_nothing(references: Callable[[], int]) -> None:
    before = references()
    context = tines.get_context("fork")
    post = context.Queue()
    post.put(children.queue_with_item())
    process = context.Process(target=children.receive_and_be_killed, args=(post,))
    process.start()
    process.join(PATIENCE)
    process.close()
    del post, process
    wait_for(lambda: references() == before)


@ring_only
def test_a_payload_that_is_decoded_twice_opens_twice() -> None:
    from tines.wire import pickling

    post = Queue[Any](transport="ring")
    post.put(children.queue_with_item())
    kind, _, data, buffers = post._channel.recv(PATIENCE)
    first, second = (pickling.decode(kind, data, buffers) for _ in range(2))
    first.put("more")
    assert [second.get(timeout=PATIENCE) for _ in range(2)] == ["inside", "more"]
