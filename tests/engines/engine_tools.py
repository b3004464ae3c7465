"""What tests of nodes look at."""

from __future__ import annotations

import contextlib

import psutil

__all__ = ["lives"]


def lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
