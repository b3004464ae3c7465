"""Large ``bytes`` and their like: what arrives, and that the pages they are copied to are large ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tines
from tines.transport.contract import Transport
from tines.wire import pickling

LARGE = 32 << 20
"""Bytes from which large pages are asked for."""


def has_large_pages(place: int) -> bool:
    """Whether this process has asked the system for large pages at an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            start, _, end = first.partition("-")
            inside = int(start, 16) <= place < int(end, 16)
        elif inside and first == "VmFlags:":
            return "hg" in rest
    return False


needs_large_pages = pytest.mark.skipif(
    not os.path.exists("/sys/kernel/mm/transparent_hugepage") or pickling._encoder is None,
    reason="needs a system with large pages, and the native core",
)


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_they_arrive_as_they_went(transport: Transport, kind: Callable[[bytes], Any]) -> None:
    queue = tines.Queue(transport=transport.name)
    for size in (LARGE - 1, LARGE):
        sent = kind(pattern(size))
        for obj in (sent, (1, sent, "\u20ac" * 100_000, sent[:70_000], 2)):
            queue.put(obj)
            received = queue.get()
            assert type(received) is type(obj)
            assert received == obj
    queue.close()


@needs_large_pages
@pytest.mark.parametrize("kind", [pickling.RAW, pickling.RAW_BYTEARRAY])
def test_what_arrives_lies_in_large_pages(kind: int) -> None:
    received = pickling.decode(kind, pattern(LARGE + (8 << 20)), ())
    # The bytes of a bytearray lie elsewhere, as it says; those of a bytes object behind its head.
    if isinstance(received, bytearray):
        import ctypes

        place = ctypes.addressof(ctypes.c_char.from_buffer(received))
    else:
        place = id(received)
    assert has_large_pages(place + LARGE // 2)


@needs_large_pages
def test_a_large_pickle_is_put_together_in_large_pages() -> None:
    _, data, _ = pickling.encode((1, pattern(LARGE + (8 << 20))))
    assert has_large_pages(id(data) + LARGE // 2)
