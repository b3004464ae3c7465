"""How far the holders of lease slots are: a page of numbers that a channel's owner shares with them.

A holder counts each item of its message before it begins it. That is one store into memory, which stays
when the holder is killed; a frame for each would cost more than most items.

The owner makes the page and sets a number to zero before it hands out a message. Who takes messages asks
for the page's *place* once, and maps it. Where there can be no page, or it cannot be opened there (another
user, another container), the numbers travel as frames: nothing depends on the page but speed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import sys
from array import array
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Numbers", "Page", "opened"]


class Numbers(Protocol):
    """One number for each slot, that can be read and set in one step."""

    def __iter__(self) -> Iterator[int]: ...

    def __getitem__(self, slot: int, /) -> int: ...

    def __setitem__(self, slot: int, number: int, /) -> None: ...


_TOKEN = 16  # bytes, by which whoever opens a page knows that it is the right one


class Page:
    """The owner's side: one number for each slot.

    Attributes:
        numbers: The numbers.
        place: Where others find them; empty where they cannot.
    """

    def __init__(self, slots: int) -> None:
        self.numbers: Numbers = array("Q", bytes(8 * slots))
        self.place = b""
        self._descriptor = -1
        if slots:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                self._share(slots)

    def _share(self, slots: int) -> None:
        token = secrets.token_bytes(_TOKEN)
        size = _TOKEN + 8 * slots
        if sys.platform == "win32":
            name = f"tines-{secrets.token_hex(16)}"
            pages = mmap.mmap(-1, size, tagname=name)
        elif sys.platform == "linux":
            self._descriptor = os.memfd_create("tines-progress", os.MFD_CLOEXEC)
            os.ftruncate(self._descriptor, size)
            pages = _mapped(self._descriptor, size)
            name = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        else:
            return
        pages[:_TOKEN] = token
        self.numbers = memoryview(pages)[_TOKEN:].cast("Q")
        self.place = token + name.encode()

    def close(self) -> None:
        """Nobody else can find it any more, and the numbers stay as they are. Safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # A copy: the mapping goes, and with it the descriptor that it may have of its own.
            self.numbers = array("Q", self.numbers)
            os.close(descriptor)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be ending
            self.close()


def _mapped(descriptor: int, size: int) -> mmap.mmap:
    """Map a file without keeping a second descriptor of it, which ``mmap`` did until Python 3.13."""
    if sys.version_info >= (3, 13) and sys.platform != "win32":
        return mmap.mmap(descriptor, size, trackfd=False)
    return mmap.mmap(descriptor, size)


def opened(place: bytes, slots: int) -> Numbers | None:
    """Return the numbers at a place; ``None`` where this process cannot reach them."""
    token, name = place[:_TOKEN], place[_TOKEN:].decode()
    size = _TOKEN + 8 * slots
    if not name:
        return None
    try:
        if sys.platform == "win32":
            pages = mmap.mmap(-1, size, tagname=name)
        else:
            descriptor = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_size != size:
                    return None
                pages = _mapped(descriptor, size)
            finally:
                os.close(descriptor)
    except (OSError, ValueError):
        return None
    if pages[:_TOKEN] != token:
        return None
    return memoryview(pages)[_TOKEN:].cast("Q")
