"""What a pool and its workers say to each other: kinds, tags and the few fixed layouts.

A message is ``(kind, tag, data, buffers)``, as the transport carries it.

Parent to worker, on the tasks channel. The tag is the *dispatch number*: every sending of a task has
its own, also when the same task is sent again, so a result that comes late names a dispatch that
nobody waits for any more and is dropped.

Which function is to be called comes after the body, see ``pool/worker/functions.py``. The bodies:

* ``CALL``: ``args``; with ``KEYWORDS`` added ``(args, kwds)``.
* ``CHUNK``: a sequence of items, ended by the first exception.
* ``STAR``: the same, each item being a tuple of arguments.
* ``EACH``: like ``CHUNK``, but an exception takes the place of its item and the rest goes on.
* ``STAR_EACH``: both: tuples of arguments, and exceptions that take the place of their items.
* ``RETIRE``: whoever takes it finishes; the answer to ``resize`` downwards.

``TIMED`` is added to ``CALL`` where the start has to be reported; what is timed travels alone.

Worker to parent, on the results channel. The tag is the dispatch number with the worker's slot in
the upper 16 bits. Up to ``LAST_PLAIN`` a message is the whole outcome of one call, which any
thread may deliver; all others are for the collector thread.
"""

from __future__ import annotations

import struct

from tines.wire import pickling

# Not from ``typing``: each worker imports this, and would import that with it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tines.wire.tracebacks import RemoteException

__all__ = [
    "CALL",
    "CHUNK",
    "EACH",
    "ERROR",
    "EVENT",
    "KEYWORDS",
    "LAST_PLAIN",
    "PART",
    "RAW_BYTEARRAY_VALUE",
    "RAW_VALUE",
    "READY",
    "RETIRE",
    "RETIRING",
    "SLOT_SHIFT",
    "STAR",
    "STARTED",
    "STAR_EACH",
    "TAG_MASK",
    "TIMED",
    "UNREADY",
    "VALUE",
    "VALUES",
    "Order",
    "Values",
    "Verb",
]

CALL, CHUNK, STAR, EACH, RETIRE, STAR_EACH = range(6)
KEYWORDS = 0x20
TIMED = 0x40

VALUE = pickling.PICKLED
"""The result of a ``CALL``, pickled."""
RAW_VALUE = pickling.RAW
"""The result of a ``CALL`` that is bytes, as they are."""
RAW_BYTEARRAY_VALUE = pickling.RAW_BYTEARRAY
"""The same for a bytearray."""
ERROR = 3
"""A pickled :class:`~tines.wire.tracebacks.RemoteException`: the task, or chunk, failed."""
LAST_PLAIN = ERROR
VALUES = 4
"""A pickled :class:`Values`: the rest of a chunk."""
PART = 5
"""The same: items that are done while the chunk goes on."""
STARTED = 6
"""A timed call has begun."""
READY = 7
"""The worker has run its initializer: a pickled ``(time.monotonic(), time.process_time())``."""
UNREADY = 8
"""The initializer raised: a pickled ``RemoteException``. The worker ends."""
RETIRING = 9
"""The worker has done its share (``maxtasksperchild`` and the like) and ends."""
EVENT = 10
"""Never from a worker: the parent wakes its own collector."""

SLOT_SHIFT = 48
TAG_MASK = (1 << SLOT_SHIFT) - 1

# (seconds taken, values, {index in ``values``: exception} or None)
Values = tuple[float, "list[Any]", "dict[int, RemoteException] | None"]


class Verb:
    """What a parent can order a worker to do, apart from tasks."""

    TIMEOUT = 1
    CANCEL = 2


class Order:
    """An order about one dispatch; travels by the worker's own control pipe, beside a signal."""

    __slots__ = ("tag", "timeout", "verb")

    def __init__(self, verb: int, tag: int, timeout: float = 0.0) -> None:
        self.verb = verb
        self.tag = tag
        self.timeout = timeout

    def encode(self) -> bytes:
        """Return the bytes for the control pipe."""
        return _ORDER.pack(self.verb, self.tag, self.timeout)

    @classmethod
    def decode(cls, data: bytes) -> Order:
        """Read one back."""
        return cls(*_ORDER.unpack(data))


_ORDER = struct.Struct("=BQd")
