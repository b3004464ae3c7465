"""The ring transport: channels in shared memory, on Linux, through the native core.

A channel is a place in the program's segment (:mod:`tines.transport.segments`), so it costs no descriptor of
its own and travels as a small *handle*; on its way in a message the handle counts as a reference
(``travels_beside``), so the channel lives until it has arrived.

Everything that must hold after a ``kill -9`` is the native core's business: see
``native/core/ring.h`` and ``docs/design/ring.md``.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Sequence
from multiprocessing.context import get_spawning_popen

from tines.transport.segments import attach, descriptor_for, opened, program, reduced

# Not from ``typing``: each worker imports this, and would import that with it. The contract does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tines._std import Duplicate
    from tines.transport.contract import Buffer, Lease
    from tines.transport.statistics import ChannelStatistics

    # Where one buffer of a shared payload is: the handle of its block, where in it, and how long it is, or -1
    # if it is all of the block. Or its bytes, if it is so small that it travels inside the handle.
    Place = tuple[int, int, int] | bytes

# After the segments, which say why if the core cannot be used here.
from tines import _native  # noqa: E402

__all__ = ["RingChannel", "RingTransport"]


# Of a shared payload: so much travels inside its handle, what is as large as that is mapped by itself, and
# what is in between lies together. A mapping costs more than a copy of so little, and a process has only so
# many.
_INLINE = 4096
_ALONE = 64 * 1024
_ALIGNMENT = 64


class RingChannel:
    """A channel in the segment; see :class:`tines.transport.contract.Channel`.

    The methods that cost nanoseconds are the native ring's own, bound when the channel is made.
    """

    def __init__(self, ring: _native.Ring) -> None:
        self._ring = ring
        self._bind(_as_it_is)
        self.revoke = ring.revoke
        self.release = ring.release
        self.held = ring.held
        self.ticking = ring.ticking
        self.qsize = ring.qsize
        self.full = ring.full
        self.task_done = ring.task_done
        self.join = ring.join
        self.shutdown = ring.shutdown
        self._readiness: _Readiness | None = None

    def _bind(self, wrapped: Callable[[object], Any]) -> None:
        """Take the ring's methods that change what a descriptor shows, as they are or wrapped."""
        ring = self._ring
        self.send = wrapped(ring.send)
        self.send_many = wrapped(ring.send_many)
        self.recv = wrapped(ring.recv)
        self.recv_many = wrapped(ring.recv_many)

    def lease(self, index: int) -> Lease | None:
        """See :meth:`tines.transport.contract.Channel.lease`."""
        from tines.transport.contract import Lease

        held = self._ring.lease(index)
        return None if held is None else Lease(*held)

    def statistics(self) -> ChannelStatistics:
        """See :meth:`tines.transport.contract.Channel.statistics`."""
        from tines.transport.statistics import ChannelStatistics

        return ChannelStatistics(*self._ring.statistics())

    def fileno(self) -> int:
        """See :meth:`tines.transport.contract.Channel.fileno`."""
        if self._ring.closed:
            raise ValueError("the queue is closed in this process")
        readiness = self._readiness
        if readiness is None or readiness.pid != os.getpid():
            readiness = self._readiness = _Readiness(self._ring)
            weakref.finalize(self, readiness.close).atexit = False
            self._bind(readiness.after)
        return readiness.fileno()

    def unwatch(self) -> None:
        """See :meth:`tines.transport.contract.Channel.unwatch`."""
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None
            self._bind(_as_it_is)

    def close(self) -> None:
        """See :meth:`tines.transport.contract.Channel.close`."""
        self.unwatch()
        self._ring.close()

    def end(self) -> None:
        """See the contract. A process that dies holds nothing here, however far it had come."""
        self.close()

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return reduced(self._ring, protocol, _received)


def _received(received: object) -> RingChannel:
    return RingChannel(opened(received, _native.Segment.open))


def _as_it_is(method: object) -> object:
    return method


class _Readiness:
    """A descriptor that follows whether a ring has something to take.

    A thread waits on the ring, in turn for something and for nothing, and sets or clears an eventfd.
    It is made only for those who ask for a descriptor.

    Whoever sends or takes something in this process looks as well before it returns, so that a program
    which waits and takes in turn is never told of what it has taken itself. The ring may then be empty
    and filled again without the thread having seen it; so the thread does not wait for an empty ring,
    but for all that was there when it last looked to be taken. Senders in other processes wait until
    it has looked (``native/core/watching.c``).
    """

    def __init__(self, ring: _native.Ring) -> None:
        self.pid = os.getpid()
        self._ring = ring
        self._closed = False
        self._shown = False
        # Reentrant, as a signal handler may take something while this thread looks.
        self._looking = threading.RLock()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) if _has_eventfd else -1
        self._pipe = () if _has_eventfd else os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ring.watch(True)
        self._look()
        self._thread = threading.Thread(target=self._follow, name="tines-readiness", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._pipe[0] if self._pipe else self._event

    def after(self, method: Any) -> object:
        """Return what calls a method of the ring and then looks what is left."""

        def call(*arguments: object, **options: object) -> object:
            result = method(*arguments, **options)
            if self.pid == os.getpid() and not self._closed:
                self._look()
            return result

        return call

    def _look(self) -> int:
        """Set or clear the descriptor; return how many messages there have been in all."""
        with self._looking:
            there, sent = self._count()
            if not there:
                # From here on senders wait; one that has just seen it shown did not, and is seen now.
                self._ring.show(False)
                there, sent = self._count()
            if there != self._shown and not self._closed:
                self._shown = there
                if there:
                    os.write(self._pipe[1] if self._pipe else self._event, b"\1\0\0\0\0\0\0\0")
                else:
                    os.read(self.fileno(), 8)
            if there:
                self._ring.show(True)
            return sent

    def _count(self) -> tuple[bool, int]:
        """Return whether there is something to take, and how many messages there have been in all."""
        depth, _, sent, taken = self._ring.statistics()[:4]
        return depth > 0 or sent != taken or self._ring.is_shut(), sent

    def _follow(self) -> None:
        with contextlib.suppress(ValueError):  # the ring was closed
            while not self._closed:
                sent = self._look()
                if self._ring.is_shut():  # it stays readable
                    break
                self._ring.wait(not self._shown, 0.2, sent)

    def close(self) -> None:
        if not self._closed and self.pid == os.getpid():
            self._closed = True
            with contextlib.suppress(ValueError):  # the ring was closed
                self._ring.watch(False)
            self._thread.join()
            with self._looking:
                for fd in self._pipe or (self._event,):
                    os.close(fd)


_has_eventfd = hasattr(os, "eventfd")


class _Opened:
    """One payload as a process sees it: mapped at the first ``open``, and kept."""

    def __init__(self, segment: _native.Segment, places: list[Place]) -> None:
        self._segment = segment
        self._places = places
        self._views: list[Buffer] = []
        self._viewer = 0

    def open(self) -> tuple[Buffer, Sequence[Buffer]]:
        """Map each buffer copy-on-write: read, it is shared; written, it is this process's own."""
        if self._viewer != os.getpid():  # not opened yet, or what was is the parent's
            self._viewer = os.getpid()
            self._views = _map_private(self._segment, self._places)
        return self._views[0], self._views[1:]

    def close(self) -> None:
        """Do nothing: what is shared is the maker's to give back."""

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        popen = get_spawning_popen()
        descriptor = None if popen is None else descriptor_for(popen, self._segment)
        return _open_shared, (self._segment.id, self._places, descriptor)


class RingShared(_Opened):
    """The same in the process that made it, and that gives it back."""

    def __init__(
        self,
        segment: _native.Segment,
        payload: Sequence[Buffer],
        references: list[_native.Reference],
    ) -> None:
        self._blocks: list[_native.Block] = []
        super().__init__(segment, self._kept(segment, payload))
        self._references = references  # to channels and locks in the payload, which live as long
        self._owner = os.getpid()

    def close(self) -> None:
        """See :meth:`tines.transport.contract.Shared.close`."""
        if self._owner == os.getpid():
            self._blocks = []
            self._references = []

    def _kept(self, segment: _native.Segment, payload: Sequence[Buffer]) -> list[Place]:
        """Put the payload into blocks: those of its buffers that are not large share one."""
        views = [memoryview(buffer).cast("B") for buffer in payload]
        places: list[Place] = []
        packed = bytearray()
        together = []
        left = _INLINE
        for view in views:
            if view.nbytes < left:
                left -= view.nbytes
                places.append(view.tobytes())
            elif view.nbytes >= _ALONE:
                places.append((self._block(segment, view), 0, -1))
            else:
                packed += bytes(-len(packed) % _ALIGNMENT)
                together.append(len(places))
                places.append((-1, len(packed), view.nbytes))
                packed += view
        pack = self._block(segment, packed) if together else -1
        for number in together:
            places[number] = pack, *places[number][1:]
        return places

    def _block(self, segment: _native.Segment, buffer: Buffer) -> int:
        block = segment.block(buffer)
        self._blocks.append(block)
        return block.index


def _map_private(segment: _native.Segment, places: list[Place]) -> list[Buffer]:
    views: list[Buffer] = []
    blocks: dict[int, memoryview] = {}
    for place in places:
        if isinstance(place, bytes):
            views.append(bytearray(place))
            continue
        block, start, size = place
        if size < 0:
            views.append(segment.private(block))
        else:
            if block not in blocks:
                blocks[block] = memoryview(segment.private(block))
            views.append(blocks[block][start : start + size])
    return views


def _open_shared(identity: bytes, places: list[Place], descriptor: Duplicate) -> _Opened:
    if descriptor is not None:
        attach(identity, descriptor)
    return _Opened(program.find(identity), places)


class RingTransport:
    """Makes channels in the program's segment; see :class:`tines.transport.contract.Transport`."""

    name = "ring"
    receives_at_once = True
    shares_memory = True
    has_primitives = True

    def __init__(self) -> None:
        try:
            program.home()
        except OSError as error:
            raise ImportError(f"shared memory cannot be used here ({error})") from error

    def channel(self, *, max_items: int = 0, max_bytes: int = 0, leases: int = 0) -> RingChannel:
        """See :meth:`tines.transport.contract.Transport.channel`."""
        from tines.transport.contract import check_bounds

        check_bounds(max_items, max_bytes, leases)
        return RingChannel(program.home().ring(max_items, max_bytes, leases))

    def share(self, data: Buffer, buffers: Sequence[Buffer] = ()) -> RingShared:
        """See :meth:`tines.transport.contract.Transport.share`."""
        segment = program.home()
        references = [
            owner
            for owner in (memoryview(buffer).obj for buffer in buffers)
            if isinstance(owner, _native.Reference)
        ]
        return RingShared(segment, (data, *buffers), references)

    def retain(self, buffer: Buffer) -> _native.Block:
        """See :meth:`tines.transport.contract.Transport.retain`."""
        block = program.home().block(buffer)
        block.stays = True  # a worker that is forked now would else keep it for as long as it lives
        return block

    def lend(self, size: int) -> _native.Block:
        """See :meth:`tines.transport.contract.Transport.lend`."""
        return program.home().take(size)

    def reap(self, pid: int) -> None:
        """See :meth:`tines.transport.contract.Transport.reap`."""
        for segment in program.existing():
            segment.sweep(pid)
