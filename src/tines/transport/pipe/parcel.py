"""One message on its way through the transport."""

from __future__ import annotations

from collections.abc import Sequence
from pickle import PickleBuffer

from tines.transport.contract import Buffer, Message

__all__ = ["Parcel", "flat"]


class Parcel:
    """One message on its way: ``parts`` are its data and then its buffers."""

    __slots__ = ("kind", "parts", "size", "tag", "ticket")

    def __init__(self, kind: int, tag: int, parts: Sequence[Buffer]) -> None:
        self.kind = kind
        self.tag = tag
        self.parts = parts
        self.size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        self.ticket = -1

    @classmethod
    def copied(cls, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> Parcel:
        """Make a parcel that shares no memory with what the caller can still change."""
        first = data if type(data) is bytes else bytes(flat(data))
        return cls(kind, tag, [first, *(bytearray(flat(buffer)) for buffer in buffers)])

    @classmethod
    def borrowed(cls, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> Parcel:
        """Make a parcel over the caller's own memory, to be written out before the call returns."""
        return cls(kind, tag, [flat(data), *map(flat, buffers)])

    def message(self) -> Message:
        """Return what ``recv`` gives; the parcel must not be used any more."""
        return self.kind, self.tag, self.parts[0], self.parts[1:]


def flat(buffer: Buffer) -> Buffer:
    """Return the bytes of a contiguous buffer as something whose ``len`` counts bytes.

    Raises:
        TypeError: not a buffer.
        BufferError: it is not contiguous.
    """
    if type(buffer) is bytes or type(buffer) is bytearray:
        return buffer
    return PickleBuffer(buffer).raw()
