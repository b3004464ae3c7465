"""Helpers of the tests of asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20.0


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something holds that sends no event."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.005)
