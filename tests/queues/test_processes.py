"""Queues between processes: start methods, passing queues on, deaths, arrays, forks."""

from __future__ import annotations

import _thread
import os
import selectors
import signal
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

import queue_children as children
from tines.queues import JoinableQueue, Queue

MakeQueue = Callable[..., Queue[Any]]
Start = Callable[..., BaseProcess]

PATIENCE = 30.0


def test_there_and_back(make_queue: MakeQueue, start: Start) -> None:
    requests, replies = make_queue(), make_queue()
    process = start(children.echo, requests, replies)
    for item in (1, "two", {"three": [3]}, None, b"x" * 100_000):
        requests.put(item)
        assert replies.get(timeout=PATIENCE) == item
    requests.shutdown()
    process.join(PATIENCE)
    assert process.exitcode == 0


def test_every_item_once_and_in_each_producers_order(make_queue: MakeQueue, start: Start) -> None:
    queue, results = make_queue(), make_queue()
    producers = [start(children.put_range, queue, who, 500) for who in range(2)]
    consumers = [start(children.collect, queue, results) for _ in range(2)]
    for process in producers:
        process.join(PATIENCE)
    queue.shutdown()
    received = [results.get(timeout=PATIENCE) for _ in consumers]
    assert sorted(item for items in received for item in items) == [
        (who, i) for who in range(2) for i in range(500)
    ]
    for items in received:
        for who in range(2):
            mine = [i for w, i in items if w == who]
            assert mine == sorted(mine)


def test_put_join_get_with_much_data(make_queue: MakeQueue, start: Start) -> None:
    queue = make_queue()
    process = start(children.put_large, queue, 100_000_000)
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert len(queue.get(timeout=PATIENCE)) == 100_000_000


def test_what_a_killed_process_had_put_is_there(make_queue: MakeQueue, start: Start) -> None:
    queue = make_queue()
    items = [bytes(100), bytes(200_000), "last"]
    process = start(children.put_and_die, queue, items)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert [queue.get(timeout=PATIENCE) for _ in items] == items


def test_a_queue_through_a_queue(make_queue: MakeQueue, start: Start) -> None:
    carriers, answers = make_queue(), make_queue()
    process = start(children.use_carrier, carriers)
    carriers.put(children.Carrier(answers))
    assert answers.get(timeout=PATIENCE) == "through a carried queue"
    process.join(PATIENCE)


def test_a_queue_in_a_message_outlives_its_sender(make_queue: MakeQueue) -> None:
    outer = make_queue()
    inner = make_queue()
    inner.put("kept")
    outer.put(inner)
    arrived = outer.get()
    del inner
    assert arrived.get(timeout=PATIENCE) == "kept"


def test_task_done_across_processes(
    make_joinable: Callable[..., JoinableQueue[Any]], make_queue: MakeQueue, start: Start
) -> None:
    queue, done = make_joinable(), make_queue()
    process = start(children.work_through, queue, done)
    for i in range(20):
        queue.put(i)
    queue.join()
    assert sorted(done.get_many(100)) == list(range(20))
    queue.shutdown()
    process.join(PATIENCE)


def test_arrays_arrive_writable_and_the_senders_stays(make_queue: MakeQueue, start: Start) -> None:
    numpy = pytest.importorskip("numpy")
    queue, replies = make_queue(), make_queue()
    array = numpy.ones(200_000)
    process = start(children.change_in_place, queue, replies)
    queue.put(array)
    array[:] = 7  # after put, the sender's changes are the sender's own
    assert replies.get(timeout=PATIENCE) == 400_000.0
    process.join(PATIENCE)
    assert array.sum() == 7 * 200_000


def test_received_arrays_are_each_processes_own_after_fork(make_queue: MakeQueue) -> None:
    numpy = pytest.importorskip("numpy")
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    queue, replies = make_queue(), make_queue()
    queue.put(numpy.arange(50_000.0))
    array = queue.get()
    pid = os.fork()
    if pid == 0:
        before = float(array[10])
        array[:] = -1.0
        replies.put((before, float(array.sum())))
        os._exit(0)
    os.waitpid(pid, 0)
    assert replies.get(timeout=PATIENCE) == (10.0, -50_000.0)
    assert array[10] == 10.0
    array[10] = 11.0
    del array
    queue.put(numpy.zeros(50_000))
    assert queue.get().sum() == 0.0


def test_fork_while_threads_use_the_queue(make_queue: MakeQueue) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    queue, replies = make_queue(), make_queue()
    busy = threading.Thread(target=lambda: [queue.put(i) for i in range(20_000)])
    busy.start()
    pid = os.fork()
    if pid == 0:
        try:
            replies.put("child works")
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    busy.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert replies.get(timeout=PATIENCE) == "child works"
    assert len(queue.get_many(30_000)) + queue.qsize() == 20_000


def test_fileno_is_readable_while_there_is_something(make_queue: MakeQueue) -> None:
    queue = make_queue()
    with selectors.DefaultSelector() as selector:
        selector.register(queue, selectors.EVENT_READ)
        assert not selector.select(0)
        queue.put("ready")
        assert selector.select(PATIENCE)
        assert queue.get(timeout=PATIENCE) == "ready"
    queue.close()


@pytest.mark.parametrize("full", [False, True], ids=["get", "put"])
def test_ctrl_c_interrupts_a_wait(make_queue: MakeQueue, full: bool) -> None:
    queue = make_queue(1)
    if full:
        queue.put(1)
    timer = threading.Timer(0.1, _thread.interrupt_main)
    if hasattr(signal, "pthread_kill"):
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        queue.put(2) if full else queue.get()
    timer.join()
    if full:
        assert queue.get(timeout=PATIENCE) == 1
    queue.put("still works")
    assert queue.get(timeout=PATIENCE) == "still works"
