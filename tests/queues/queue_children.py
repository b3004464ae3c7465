"""What the queue tests run in other processes; at module level, so that spawn finds it."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import wait
from queue import Empty
from typing import Any

from tines.queues import JoinableQueue, Queue


def echo(requests: Queue[Any], replies: Queue[Any]) -> None:
    for item in requests:
        replies.put(item)


def put_range(queue: Queue[Any], who: int, count: int) -> None:
    for i in range(count):
        queue.put((who, i))


def collect(queue: Queue[Any], results: Queue[Any]) -> None:
    results.put(list(queue))


def put_and_die(queue: Queue[Any], items: list[Any]) -> None:
    for item in items:
        queue.put(item)
    os.kill(os.getpid(), signal.SIGKILL)


def put_large(queue: Queue[Any], size: int) -> None:
    queue.put(bytearray(size))


def work_through(queue: JoinableQueue[Any], done: Queue[Any]) -> None:
    for item in queue:
        done.put(item)
        queue.task_done()


def change_in_place(queue: Queue[Any], replies: Queue[Any]) -> None:
    array = queue.get()
    array += 1
    replies.put(float(array.sum()))


class Carrier:
    """An object that keeps a queue, pickled to another process as a whole."""

    def __init__(self, queue: Queue[Any]) -> None:
        self.queue = queue

    def answer(self, value: Any) -> None:
        self.queue.put(value)


def use_carrier(carriers: Queue[Carrier]) -> None:
    carriers.get().answer("through a carried queue")


class BreaksOnArrival:
    """Pickles; does not unpickle."""

    def __reduce__(self) -> Any:
        return (_refuse, ())


def _refuse() -> None:
    raise LookupError("made to fail where it arrives")


def answer_in_turn(there: Queue[Any], back: Queue[Any]) -> None:
    while (item := there.get()) is not None:
        assert not wait([there._reader], 0)
        back.put(item)


def share(queue: Queue[Any], results: Queue[Any]) -> None:
    got: list[Any] = []
    while True:
        assert wait([queue._reader], 30)
        try:
            item = queue.get(block=False)
        except Empty:
            continue
        if item is None:
            results.put(got)
            return
        got.append(item)


def take_one(queue: Queue[Any], results: Queue[Any]) -> None:
    results.put(queue.get())


def work_through_one(queue: JoinableQueue[Any]) -> None:
    queue.get()
    queue.task_done()
