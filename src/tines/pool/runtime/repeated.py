"""Large arguments that come again: one copy in shared memory, to which all their messages refer.

Sixty calls that wait with one array of 100 MB would else be sixty copies of it. Nothing is done while a pool
keeps up with what it is sent: then copies go into memory that is hot, which is the fastest there is. When
more is under way, each further copy would take fresh pages, which costs several times what copying does. From
then on an argument that comes again, and of which a sample is as it was, is copied once, and that copy kept;
when it comes once more it is compared with the copy. So a call gets what its caller had at the call.

A worker maps the copy privately, and has pages of its own where it writes: its tasks may change what they are
given. A copy is kept until its original goes, or has changed, or the pool ends, and there are few. Messages
under way hold what they refer to themselves, as does whoever has received one, whatever is let go of here.
"""

from __future__ import annotations

import functools
import threading
import weakref
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from tines._config import available_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.transport.contract import Buffer, Retained, Transport

__all__ = ["LARGE", "Repeated"]

LARGE = 1 << 20
"""Size in bytes from which a buffer is looked at."""

MUCH = 64 << 20
"""Bytes under way from which it is, if they are also those of ``SOME`` such buffers."""

SOME = 2

MOST_KEPT = 4
MEMORY_SHARE = 4
"""Copies may take up to this part of the memory that is there when the first is made."""

MOST_SEEN = 64
MOST_MISSES = 3
SAMPLES = 4096


class _Seen:
    """One owner of a large buffer that was sent.

    Attributes:
        owner: A weak reference to it.
        size: The size of its buffer.
        sample: What a sample of its bytes came to.
        misses: How often it had changed where the sample had not.
        copy: The copy that messages refer to.
    """

    __slots__ = ("copy", "misses", "owner", "sample", "size")

    def __init__(self, owner: weakref.ref[Any], size: int, sample: int) -> None:
        self.owner = owner
        self.size = size
        self.sample = sample
        self.misses = 0
        self.copy: Retained | None = None


class Repeated:
    """The large arguments of one pool. Any thread may call."""

    def __init__(self, transport: Transport) -> None:
        # Where messages go through pipes, a reference to a copy would have to be followed by the copy.
        self._transport = transport if transport.shares_memory else None
        self._lock = threading.Lock()
        # By the id of the owner; entries leave at any time, when their owners do. The latest is the last.
        self._seen: OrderedDict[int, _Seen] = OrderedDict()

    def replaced(self, buffers: Sequence[Buffer], under_way: int) -> Sequence[Buffer]:
        """Return a message's buffers, with references in the place of those that came before.

        Args:
            buffers: What the message has.
            under_way: The bytes of other messages that are not dealt with yet.
        """
        if under_way < MUCH or self._transport is None:
            return buffers
        result: list[Buffer] | None = None
        for number, buffer in enumerate(buffers):
            view = memoryview(buffer)
            if view.nbytes < LARGE or under_way < SOME * view.nbytes:
                continue
            copy = self._copy_of(view)
            if copy is not None:
                if result is None:
                    result = list(buffers)
                result[number] = copy
        return buffers if result is None else result

    def clear(self) -> None:
        """Let go of all."""
        self._seen.clear()

    def _copy_of(self, view: memoryview) -> Retained | None:
        """Return the copy that a message is to refer to; ``None``: it is to have the bytes."""
        key = id(view.obj)
        seen = self._seen.get(key)
        if seen is None or seen.size != view.nbytes:
            self._note(key, view)
            return None
        copy = seen.copy
        if copy is not None:
            if copy.holds(view):
                with self._lock:
                    if key in self._seen:
                        self._seen.move_to_end(key)
                return copy
            seen.misses += 1
            seen.copy = None
        sample = _sample(view)
        same, seen.sample = sample == seen.sample, sample
        if not same or copy is not None or seen.misses >= MOST_MISSES:
            return None
        return self._keep(seen, view)

    def _note(self, key: int, view: memoryview) -> None:
        try:
            owner = weakref.ref(view.obj, functools.partial(_drop, self._seen, key))
        except TypeError:
            return  # nobody would tell when it goes
        with self._lock:
            self._seen[key] = _Seen(owner, view.nbytes, _sample(view))
            while len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)

    def _keep(self, seen: _Seen, view: memoryview) -> Retained | None:
        transport = self._transport
        if transport is None or view.nbytes > self._most:
            return None
        copy = transport.retain(view)
        if copy is None:
            self._transport = None  # nor will it the next time
            return None
        with self._lock:
            room = self._most - view.nbytes
            count = 1
            for other in reversed(list(self._seen.values())):
                if other is seen or other.copy is None:
                    continue
                room -= other.size
                count += 1
                if room < 0 or count > MOST_KEPT:
                    other.copy = None
            seen.copy = copy
        return copy

    @functools.cached_property
    def _most(self) -> int:
        """Bytes of all copies: to ask for it takes a while, and most pools never do."""
        return available_memory() // MEMORY_SHARE


def _drop(seen: OrderedDict[int, _Seen], key: int, owner: object) -> None:
    """An owner is gone. Runs wherever the garbage collector does, so it takes no lock."""
    found = seen.get(key)
    if found is not None and found.owner is owner:
        seen.pop(key, None)


def _sample(view: memoryview) -> int:
    flat = view.cast("B")
    return zlib.crc32(bytes(flat[:: max(1, flat.nbytes // SAMPLES)]))
