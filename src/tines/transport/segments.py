"""The segments of shared memory that this process has mapped, and how what lies in them travels.

A program has one segment, a sparse memory file. The process that first needs it creates it; forked
children inherit the mapping, others receive the descriptor with the first thing in it that is passed to them.

Channels and primitives are places in a segment, and both travel in the same way: :func:`reduced` is what
pickle asks for, :func:`opened` is what the receiver has then. A *handle* names segment, place and birth. A
*reference*, which is a handle that keeps what it names, goes wherever there is somebody to keep it:

* in a message of our own (protocol 5) it travels beside the pickle, and keeps what it names on the way;
* to a child that is being started it is kept by the child's ``popen`` object, and the descriptor goes along;
* in any other pickle there is only the handle, and nothing is kept.
"""

from __future__ import annotations

import sys

if not sys.platform.startswith("linux"):
    raise ImportError(f"the ring transport needs Linux, and this is {sys.platform}")

import errno
import os
import pickle
import struct
import threading
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd

# Not from ``typing``: each worker imports this, and would import that with it.
from tines._fork import Rank, at_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tines._std import Duplicate

try:
    from tines import _native
except ImportError as error:
    from importlib.util import find_spec

    if find_spec("tines._native") is None:
        raise ImportError("the native core was not built when tines was installed") from error
    raise ImportError(f"the native core cannot be loaded ({error})") from error

__all__ = ["attach", "descriptor_for", "opened", "program", "reduced"]

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
                f"it is a large but sparse file, and this process may only create files of up to {files:,} "
                "bytes: RLIMIT_FSIZE, `ulimit -f`",
            ) from None
        space = resource.getrlimit(resource.RLIMIT_AS)[0]
        if space != resource.RLIM_INFINITY:
            raise OSError(
                errno.ENOMEM,
                f"it needs address space, not only memory, and this process may have only {space:,} "
                "bytes of it: RLIMIT_AS, `ulimit -v`",
            ) from None
        raise


program = _Program()


def _after_fork_in_child() -> None:
    _native.after_fork_in_child()
    program.after_fork_in_child()


at_fork(
    Rank.RING,
    before=_native.before_fork,
    parent=_native.after_fork_in_parent,
    child=_after_fork_in_child,
)


def descriptor_for(popen: object, segment: _native.Segment) -> object:
    """Pass the segment's descriptor to a child that is being started, once."""
    passed = popen.__dict__.setdefault("_tines_segments", {})
    if segment.id not in passed:
        passed[segment.id] = DupFd(segment.fd)
    return passed[segment.id]


def attach(identity: bytes, descriptor: Duplicate) -> None:
    """Map the segment in a started child, unless something else has brought it already."""
    if all(segment.id != identity for segment in program.existing()):
        program.attach(identity, descriptor.detach())


def reduced(native: Any, protocol: Any, receive: Callable[[object], object]) -> tuple[object, ...]:
    """Return what ``__reduce_ex__`` of an object that wraps something in a segment returns.

    Args:
        native: What it wraps.
        protocol: The protocol that ``__reduce_ex__`` was given.
        receive: Makes the object again of what it is given, which is for :func:`opened`. A function of a
            module, as it is pickled by its name.
    """
    reference = native.reference()
    popen = get_spawning_popen()
    if popen is not None:
        # The reference is the child's by the time it has opened its own; until then the popen
        # object, which lives as long as the child, keeps it.
        popen.__dict__.setdefault("_tines_references", []).append(reference)
        return _receive_in_child, (receive, bytes(reference), descriptor_for(popen, native.segment))
    if protocol >= 5:
        return receive, (pickle.PickleBuffer(reference),)
    return receive, (bytes(reference),)


def opened(received: Any, open_at: Callable[[_native.Segment, int, int], object]) -> Any:
    """Return what a reference or a handle names, in the process that has received it.

    Args:
        received: The reference or the handle.
        open_at: Opens what is at a place of a segment: its ``open``, or its ``open_primitive``.

    Raises:
        TransportError: this process was never given the segment.
    """
    if isinstance(received, _native.Reference):
        return received.open()
    identity, index, birth = _HANDLE.unpack(received)
    return open_at(program.find(identity), index, birth)


def _receive_in_child(
    receive: Callable[[object], object], handle: bytes, descriptor: Duplicate
) -> object:
    identity, _, _ = _HANDLE.unpack(handle)
    attach(identity, descriptor)
    return receive(handle)
