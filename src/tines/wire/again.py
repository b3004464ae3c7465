"""Messages that a process has taken, and could not decode for want of memory.

Nobody else can have them any more, so they are kept for the next ``get``: whoever was given a
``MemoryError`` has lost nothing, and may call again. Once: what fails twice is too large for this
process, and would be in the way of everything behind it.
"""

from __future__ import annotations

import os
from collections import deque

from tines.errors import DecodeError

# Not from ``typing``: each worker imports this, and would import that with it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.transport.contract import Message

__all__ = ["Again", "Kept", "is_out_of_memory"]


class Again(tuple):  # type: ignore[type-arg]
    """A message that was kept since it could not be decoded."""

    __slots__ = ()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is why something could not be decoded: itself, or as a ``DecodeError`` says it."""
    if isinstance(error, DecodeError):
        return isinstance(error.__cause__, MemoryError)
    return isinstance(error, MemoryError)


class Kept:
    """What one queue has kept in this process, in the order in which it was taken."""

    __slots__ = ("_messages", "_pid")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._pid = os.getpid()

    def __len__(self) -> int:
        if self._pid != os.getpid():  # forked since then: they are the parent's
            self._messages.clear()
        return len(self._messages)

    def add(self, messages: Sequence[Message]) -> None:
        """Keep what was taken together, behind the others; the first of it could not be decoded."""
        first, *others = messages
        self._messages.extend((Again(first), *others))

    def take(self) -> Message | None:
        """Return the one that was taken first, if there is any."""
        try:
            return self._messages.popleft() if len(self) else None
        except IndexError:  # another thread was faster
            return None
