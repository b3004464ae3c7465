"""The ring transport: channels in shared memory, on Linux, through the native core.

A program has one *segment*, a sparse memory file. The process that first needs it creates it; forked
children inherit the mapping, others receive the descriptor with the first channel that is passed to
them. A channel is a place in the segment, so it costs no descriptor of its own and travels as a
small *handle*; on its way in a message the handle counts as a reference (``travels_beside``), so the
channel lives until it has arrived.

Everything that must hold after a ``kill -9`` is the native core's business: see
``native/core/ring.h`` and ``docs/design/ring.md``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import struct
import sys
import threading
import weakref
from collections.abc import Sequence
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd

# Not from ``typing``: each worker imports this, and would import that with it. The contract does.
from tines._fork import Rank, at_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tines.transport.contract import Buffer, Lease
    from tines.transport.statistics import ChannelStatistics

if not sys.platform.startswith("linux"):
    raise ImportError(f"the ring transport needs Linux, and this is {sys.platform}")
try:
    from tines import _native
except ImportError as error:
    from importlib.util import find_spec

    if find_spec("tines._native") is None:
        raise ImportError("the native core was not built when tines was installed") from error
    raise ImportError(f"the native core cannot be loaded ({error})") from error

__all__ = ["RingChannel", "RingTransport"]

# Segment id, block index, birth; as native/binding/block_type.c lays it out.
_HANDLE = struct.Struct("=16sI4xQ")


class _Program:
    """The segments that this process has mapped: its own program's, and any that came with a channel."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._segments: dict[bytes, _native.Segment] = {}
        self._home: _native.Segment | None = None

    def home(self) -> _native.Segment:
        """Return the program's segment; the first call in the program creates it."""
        with self._lock:
            if self._home is None:
                self._home = _create_segment()
                self._segments[self._home.id] = self._home
            return self._home

    def existing(self) -> list[_native.Segment]:
        with self._lock:
            return list(self._segments.values())

    def find(self, identity: bytes) -> _native.Segment:
        """Return a mapped segment.

        Raises:
            TransportError: this process was never given its descriptor.
        """
        segment = self._segments.get(identity)
        if segment is None:
            from tines.errors import TransportError

            raise TransportError(
                "this process does not share memory with the one that made the queue: pass the queue "
                "to it as an argument of Process, or through another queue or pool"
            )
        return segment

    def attach(self, identity: bytes, fd: int) -> None:
        """Map the segment behind a descriptor, which is taken over."""
        with self._lock:
            if identity in self._segments:
                os.close(fd)
                return
            segment = _native.attach_segment(fd)
            os.set_inheritable(fd, False)
            self._segments[identity] = segment
            if self._home is None:
                self._home = segment

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()


def _create_segment() -> _native.Segment:
    """Make a segment.

    Raises:
        OSError: a limit of this process forbids it.
        MemoryError: there is not enough memory.
    """
    try:
        return _native.create_segment(0)
    except MemoryError:
        import resource

        files = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if files != resource.RLIM_INFINITY:
            raise OSError(
                errno.EFBIG,
                f"it is a file, large but sparse, and this process may make files of {files:,} bytes "
                "at most: RLIMIT_FSIZE, `ulimit -f`",
            ) from None
        space = resource.getrlimit(resource.RLIMIT_AS)[0]
        if space != resource.RLIM_INFINITY:
            raise OSError(
                errno.ENOMEM,
                f"it takes addresses, not only memory, and this process may have {space:,} bytes of "
                "them at most: RLIMIT_AS, `ulimit -v`",
            ) from None
        raise


_program = _Program()


def _after_fork_in_child() -> None:
    _native.after_fork_in_child()
    _program.after_fork_in_child()


at_fork(
    Rank.RING,
    before=_native.before_fork,
    parent=_native.after_fork_in_parent,
    child=_after_fork_in_child,
)


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

    def _bind(self, wrapped: Callable[[Any], Any]) -> None:
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

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        reference = self._ring.reference()
        popen = get_spawning_popen()
        if popen is not None:
            # The reference is the child's by the time it has opened its own; until then the popen
            # object, which lives as long as the child, keeps it.
            popen.__dict__.setdefault("_tines_references", []).append(reference)
            return _open_spawned, (bytes(reference), _descriptor_for(popen, self._ring.segment))
        if protocol >= 5:
            return _open_received, (pickle.PickleBuffer(reference),)
        return _open_received, (bytes(reference),)


def _descriptor_for(popen: Any, segment: _native.Segment) -> Any:
    """Pass the segment's descriptor to a child that is being started, once."""
    passed = popen.__dict__.setdefault("_tines_segments", {})
    if segment.id not in passed:
        passed[segment.id] = DupFd(segment.fd)
    return passed[segment.id]


def _attach(identity: bytes, descriptor: Any) -> None:
    """Map the segment in a started child, unless an earlier channel has brought it already."""
    if all(segment.id != identity for segment in _program.existing()):
        _program.attach(identity, descriptor.detach())


def _open_spawned(handle: bytes, descriptor: Any) -> RingChannel:
    identity, _, _ = _HANDLE.unpack(handle)
    _attach(identity, descriptor)
    return _open_received(handle)


def _open_received(reference: Any) -> RingChannel:
    if isinstance(reference, _native.Reference):
        return RingChannel(reference.open())
    identity, index, birth = _HANDLE.unpack(reference)
    return RingChannel(_program.find(identity).open(index, birth))


def _as_it_is(method: Any) -> Any:
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

    def after(self, method: Any) -> Any:
        """Return what calls a method of the ring and then looks what is left."""

        def call(*arguments: Any, **options: Any) -> Any:
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

    def __init__(self, segment: _native.Segment, places: list[tuple[int, bytes | None]]) -> None:
        self._segment = segment
        self._places = places
        self._views: list[Buffer] = []
        self._viewer = 0

    def open(self) -> tuple[Buffer, Sequence[Buffer]]:
        """Map each buffer copy-on-write: read, it is shared; written, it is this process's own."""
        if self._viewer != os.getpid():  # not opened yet, or what was is the parent's
            self._viewer = os.getpid()
            self._views = [_map_private(self._segment, place) for place in self._places]
        return self._views[0], self._views[1:]

    def close(self) -> None:
        """Do nothing: what is shared is the maker's to give back."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        popen = get_spawning_popen()
        descriptor = None if popen is None else _descriptor_for(popen, self._segment)
        return _open_shared, (self._segment.id, self._places, descriptor)


class RingShared(_Opened):
    """The same in the process that made it, and that gives it back."""

    def __init__(
        self,
        segment: _native.Segment,
        blocks: list[_native.Block | bytes],
        references: list[_native.Reference],
    ) -> None:
        places: list[tuple[int, bytes | None]] = [
            (-1, each) if isinstance(each, bytes) else (each.index, None) for each in blocks
        ]
        super().__init__(segment, places)
        self._blocks = blocks
        self._references = references  # to channels and locks in the payload, which live as long
        self._owner = os.getpid()

    def close(self) -> None:
        """See :meth:`tines.transport.contract.Shared.close`."""
        if self._owner == os.getpid():
            self._blocks = []
            self._references = []


def _map_private(segment: _native.Segment, place: tuple[int, bytes | None]) -> Buffer:
    index, inline = place
    return segment.private(index) if inline is None else bytearray(inline)


def _open_shared(
    identity: bytes, places: list[tuple[int, bytes | None]], descriptor: Any
) -> _Opened:
    if descriptor is not None:
        _attach(identity, descriptor)
    return _Opened(_program.find(identity), places)


class RingTransport:
    """Makes channels in the program's segment; see :class:`tines.transport.contract.Transport`."""

    name = "ring"
    receives_at_once = True
    shares_memory = True
    has_primitives = True

    def __init__(self) -> None:
        try:
            _program.home()
        except OSError as error:
            raise ImportError(f"shared memory cannot be used here ({error})") from error

    def channel(self, *, max_items: int = 0, max_bytes: int = 0, leases: int = 0) -> RingChannel:
        """See :meth:`tines.transport.contract.Transport.channel`."""
        from tines.transport.contract import check_bounds

        check_bounds(max_items, max_bytes, leases)
        return RingChannel(_program.home().ring(max_items, max_bytes, leases))

    def share(self, data: Buffer, buffers: Sequence[Buffer] = ()) -> RingShared:
        """See :meth:`tines.transport.contract.Transport.share`."""
        segment = _program.home()
        references = [
            owner
            for owner in (memoryview(buffer).obj for buffer in buffers)
            if isinstance(owner, _native.Reference)
        ]
        return RingShared(segment, [_keep(segment, each) for each in (data, *buffers)], references)

    def lend(self, size: int) -> _native.Block:
        """See :meth:`tines.transport.contract.Transport.lend`."""
        return _program.home().take(size)

    def reap(self, pid: int) -> None:
        """See :meth:`tines.transport.contract.Transport.reap`."""
        for segment in _program.existing():
            segment.sweep(pid)


def _keep(segment: _native.Segment, buffer: Buffer) -> _native.Block | bytes:
    """A block for a large buffer; a small one travels inside the handle."""
    view = memoryview(buffer)
    return segment.block(buffer) if view.nbytes >= 4096 else view.tobytes()
