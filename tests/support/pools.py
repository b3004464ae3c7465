"""Pools of a test: they are ended after it, and nothing of them is left in this process."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import sys
import threading
from collections.abc import Iterator

from support.waiting import wait_for
from tines.pool import Pool

__all__ = ["ending"]


@contextlib.contextmanager
def ending() -> Iterator[list[Pool]]:
    """Yield a list for pools; in the end they are terminated, their threads and workers are gone."""
    made: list[Pool] = []
    yield made
    while made:
        made.pop().terminate()
    gc.collect()
    wait_for(lambda: not _threads())
    wait_for(lambda: not multiprocessing.active_children())


def _threads() -> list[threading.Thread]:
    running = sys._current_frames()  # before 3.13 a dummy stays listed when its thread has ended
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith(("tines pool", "Dummy")) and thread.ident in running
    ]
