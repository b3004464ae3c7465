"""What the tests of shared values run in other processes."""

from __future__ import annotations

import ctypes
from typing import Any


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


def add(shared: Any, amount: int) -> None:
    """Add under the lock, if there is one."""
    with shared.get_lock():
        shared.value += amount


def add_to_first(shared: Any, amount: int) -> None:
    shared[0] += amount


def move(point: Any, amount: int) -> None:
    point.x += amount


def add_and_return(shared: Any, amount: int) -> Any:
    add_to_first(shared, amount)
    return shared


def made_here(value: int) -> Any:
    import tines

    return tines.Value("i", value)


def add_received(post: Any) -> None:
    add_to_first(post.get(timeout=20), 1)
