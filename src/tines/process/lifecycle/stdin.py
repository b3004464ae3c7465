"""What a forked child reads from: ``/dev/null``, as an object that its parent has made in advance.

The standard library opens it in each child, where the first touch of everything that ``open()``
needs is a page fault: a tenth of the time that a child takes from start to join.
"""

from __future__ import annotations

import io
import multiprocessing.util as util
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["prepare", "replace"]

_util: ModuleType = util

# At most one, for the next child; each child takes it, and its own children get another.
_prepared: list[io.TextIOWrapper] = []


def prepare() -> None:
    """Open ``/dev/null`` for the children of this process, once."""
    if _prepared or sys.stdin is None:
        return
    fd = os.open(os.devnull, os.O_RDONLY)
    # As the standard library does it: the descriptor stays open whatever becomes of the object.
    _prepared.append(open(fd, encoding="utf-8", closefd=False))  # noqa: SIM115
    while len(_prepared) > 1:  # two threads had the same idea
        os.close(_prepared.pop().fileno())


def replace() -> None:
    """In a child: close ``sys.stdin``, and let it read from ``/dev/null``; the descriptor stays."""
    stream = sys.stdin
    if stream is None or not _prepared:
        _util._close_stdin()
        return
    try:
        # What all its layers ask for whether they are closed.
        (stream.buffer.raw if type(stream) is io.TextIOWrapper else stream).close()
    except (AttributeError, OSError, ValueError):
        pass
    sys.stdin = _prepared.pop()
