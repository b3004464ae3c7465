"""Waiting for what sends no event: a count that can only be looked at, a file, a process that goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

__all__ = ["PATIENCE", "SLOWNESS", "wait_for"]

SLOWNESS = float(os.environ.get("TINES_TESTS_SLOWNESS") or 1)
"""How many times as long as here everything may take: an emulated system asks for more."""

PATIENCE = 20.0 * SLOWNESS
"""Seconds for something that must happen, on a machine that is busy with other things."""


def wait_for(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until something holds that sends no event."""
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.002)
