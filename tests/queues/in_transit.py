"""What the tests of things on their way run in other processes."""

from __future__ import annotations

import os
import signal
from typing import Any

import tines

made: list[Any] = []


def queue_with_item(item: str = "inside") -> Any:
    queue = tines.Queue()
    queue.put(item)
    return queue


def put_and_end(post: Any, count: int = 1) -> None:
    for _ in range(count):
        post.put(queue_with_item())


def put_lock_and_end(post: Any) -> None:
    post.put(tines.Lock())


def receive_and_be_killed(post: Any) -> None:
    kept = post.get()
    os.kill(os.getpid(), signal.SIGKILL)
    del kept


def read(queue: Any) -> Any:
    return queue.get(timeout=20)


def die_once(queue: Any, flag: Any) -> Any:
    if not flag.is_set():
        flag.set()
        os.kill(os.getpid(), signal.SIGKILL)
    return queue.get(timeout=20)
