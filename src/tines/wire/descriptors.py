"""Results that hold descriptors: taken out where they arrive, while who sent them is still there.

A ``Connection`` or a socket is pickled as a promise: the sender keeps a copy of the descriptor, and
gives it to whoever unpickles the message, if it still runs then. A pool keeps results as they came until
somebody asks for them, and its workers may have ended by that time. So:

    worker   mark(): a message for which descriptors were promised gets an empty buffer behind its own
    parent   is_marked(), opened(): unpickles it at once, and keeps the object in place of the message

What is opened goes on as a message like any other, with the object instead of its buffers: its pickle
says "what the buffer holds".
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tines.transport.contract import Buffer

__all__ = ["is_marked", "mark", "opened", "promised"]

_MARK = b""

# PROTO 5, GLOBAL, NEXT_BUFFER, TUPLE1, REDUCE, STOP: calls ``_held`` with the message's first buffer.
_PICKLE_OF_HELD = b"\x80\x05c" + __name__.encode() + b"\n_held\n\x97\x85R."


class _Held(bytearray):
    """What a message held, or what unpickling it raised; a buffer of no bytes to who looks at sizes."""

    value: object = None
    error: BaseException | None = None


def promised() -> int:
    """Return how many descriptors this process has ever promised to others."""
    # The counter has no public name; the reducers that lead there are the standard library's, those of
    # other libraries and the program's own, so there is no other place to count them all.
    sharer = sys.modules.get("multiprocessing.resource_sharer")
    return 0 if sharer is None else sharer._resource_sharer._key


def mark(buffers: Sequence[Buffer]) -> Sequence[Buffer]:
    """Return the buffers of a message that has to be opened where it arrives."""
    return (*buffers, _MARK)


def is_marked(buffers: Sequence[Buffer]) -> bool:
    """Whether :func:`mark` made them: no other buffer out of band is empty."""
    return bool(buffers) and memoryview(buffers[-1]).nbytes == 0 and type(buffers[-1]) is not _Held


def opened(load: Callable[[], object]) -> tuple[Buffer, Sequence[Buffer]]:
    """Return data and buffers of the message that stands for what ``load`` returns, or raises."""
    held = _Held()
    try:
        held.value = load()
    except BaseException as error:
        held.error = error
    return _PICKLE_OF_HELD, (held,)


def _held(holder: _Held) -> object:
    if holder.error is not None:
        raise holder.error
    return holder.value
