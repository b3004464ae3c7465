"""What is left behind: children, descriptors, blocks of shared memory."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from dataclasses import dataclass
from typing import Any

from chaos.tally import Tally
from tines.process.start import spares

__all__ = ["Baseline"]

SETTLE = 15.0
"""Seconds until all that belongs to the dead has to be given back; what ``--settle`` changes."""


@dataclass(frozen=True)
class Baseline:
    """What there was before a rig ran."""

    descriptors: int
    held: int

    @classmethod
    def take(cls) -> Baseline:
        """Look, once what is on its way out has gone: it would hide a leak of the same size."""
        _let_go()
        seen, before = cls(_descriptors(), _held()), None
        while seen != before:
            time.sleep(0.2)
            seen, before = cls(_descriptors(), _held()), seen
        return seen

    def compare(self, tally: Tally) -> None:
        """Write into a tally what is there beyond the baseline once things have settled."""
        deadline = time.monotonic() + SETTLE
        while True:
            _let_go()
            tally.leaked_processes = len(multiprocessing.active_children())
            tally.leaked_descriptors = max(0, _descriptors() - self.descriptors)
            tally.leaked_bytes = max(0, _held() - self.held)
            left = tally.leaked_processes + tally.leaked_descriptors + tally.leaked_bytes
            if not left or time.monotonic() > deadline:
                return
            time.sleep(0.2)


def _let_go() -> None:
    """End what waits for work that may never come: spare interpreters, each with its pipe."""
    spares.stop()
    gc.collect()


def _descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _segments() -> list[Any]:
    try:
        from tines.transport.segments import program
    except ImportError:
        return []
    return program.existing()


def _held() -> int:
    """Bytes of shared memory in blocks that are in use, whoever uses them."""
    total = 0
    for segment in _segments():
        segment.sweep(0)
        total += segment.census()["bytes_used"]
    return total
