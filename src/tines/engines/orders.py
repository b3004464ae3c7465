"""A local worker's own side: where its orders arrive, and what its process runs first.

Apart from the engine: each worker imports this, and would import that with it.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tines._std import Duplicate

__all__ = ["Orders", "frame", "run"]

_FRAME = struct.Struct("=B31s")


class Orders:
    """The read end of a worker's own pipe: a :class:`tines.engines.contract.Control`.

    Not a ``Connection`` of ``multiprocessing``: a worker that is not forked would take a tenth longer
    to start, for importing that. Pickles only while a process is started.

    Args:
        fd: A descriptor that does not block. The worker has it for as long as it lives.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def receive(self) -> bytes | None:
        """Return the next order; ``None`` if there is none now, nor when the parent is gone.

        A signal handler calls this, and another signal may come in the midst of it: so an order is
        written and read in one go each, and none is ever read in part.
        """
        try:
            framed = os.read(self._fd, _FRAME.size)
        except BlockingIOError:
            return None
        if not framed:
            return None
        size, order = _FRAME.unpack(framed)
        return order[:size]  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[object, ...]:
        from multiprocessing.context import assert_spawning
        from multiprocessing.reduction import DupFd

        assert_spawning(self)
        return _open_in_child, (DupFd(self._fd),)


def _open_in_child(duplicate: Duplicate) -> Orders:
    return Orders(duplicate.detach())


def frame(order: bytes) -> bytes:
    """Return what the parent writes for an order of up to 31 bytes."""
    return _FRAME.pack(len(order), order)


def run(target: Callable[..., object], *args: object) -> None:
    """Be a worker: from here on its process is one like any other."""
    from tines.process.lifecycle.launch import STARTING

    os.environ.pop(STARTING, None)
    target(*args)
