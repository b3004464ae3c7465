"""Children of a test: none outlives it, whether it passes or fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["Start", "starting"]

Start = Callable[..., BaseProcess]
"""Start ``target(*args)`` in a process, and return that."""


@contextlib.contextmanager
def starting(context: Any) -> Iterator[Start]:
    """Yield what starts processes of a context; those that are there at the end are killed."""
    started: list[BaseProcess] = []

    def start(target: Callable[..., object], *args: Any) -> BaseProcess:
        process: BaseProcess = context.Process(target=target, args=args)
        process.start()
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.join()
            process.close()
