"""What runs in the processes of these tests; importable by spawned ones."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def put_each(queue: Any, items: list[Any]) -> None:
    for item in items:
        queue.put(item)


def take(queue: Any, count: int, seconds: float) -> list[Any]:
    """Take some items, slowly."""
    found = []
    for _ in range(count):
        found.append(queue.get())
        time.sleep(seconds)
    return found


def end(how: str) -> str:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise KeyError("boo")
    if how == "sleep":
        time.sleep(60)
    return how
