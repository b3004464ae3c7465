"""The page: two records in a file, each whole or refused; the later one counts.

::

    0   8   magic, with the version of the format
    8   8   sequence: grows by one with each record
    16  4   length of the payload
    20  4   CRC-32 of sequence, length and payload
    24      payload: JSON in UTF-8

Records take turns in the two halves of the file, so the one before stays as it was while a record is
written. A reader that catches a writer in the act sees a sum that does not fit, and takes the other
one: however long the writer waits for a core there, something is whole. (A sequence lock would need an
order of stores that Python does not promise; the sum needs none, and also refuses what a full disk cut
short.)
"""

from __future__ import annotations

import os
import stat
import struct
import zlib

from tines.insight import places

__all__ = ["LARGEST", "Unreadable", "pack", "read", "unpack", "write"]

LARGEST = 1024 * 1024
"""Bytes of payload that a page may have at most."""

_MAGIC = b"tinespg\x02"
_HEADER = struct.Struct("=8sQII")
_SUMMED = struct.Struct("=QI")
_ATTEMPTS = 8

_HALF = _HEADER.size + LARGEST


class Unreadable(Exception):
    """A page that cannot be used; the text says why."""


def pack(sequence: int, payload: bytes) -> bytes:
    """Return a record.

    Raises:
        ValueError: the payload is too large.
    """
    if len(payload) > LARGEST:
        raise ValueError(f"a payload of {len(payload)} bytes is more than {LARGEST}")
    total = zlib.crc32(payload, zlib.crc32(_SUMMED.pack(sequence, len(payload))))
    return _HEADER.pack(_MAGIC, sequence, len(payload), total) + payload


def unpack(record: bytes) -> tuple[int, bytes]:
    """Return the sequence and the payload of a record; what follows it is not looked at.

    Raises:
        Unreadable: it is no record, of another version, or not whole.
    """
    if len(record) < _HEADER.size:
        raise Unreadable(f"a page of {len(record)} bytes is too short")
    magic, sequence, length, total = _HEADER.unpack_from(record)
    if magic[:-1] != _MAGIC[:-1]:
        raise Unreadable("it is not a page of tines")
    if magic != _MAGIC:
        raise Unreadable(f"its format is version {magic[-1]}, and this tines reads {_MAGIC[-1]}")
    if length > LARGEST:
        raise Unreadable(f"it claims to be {length} bytes long, and {LARGEST} is the limit")
    payload = record[_HEADER.size : _HEADER.size + length]
    if len(payload) < length:
        raise Unreadable("it is cut short")
    if zlib.crc32(payload, zlib.crc32(_SUMMED.pack(sequence, length))) != total:
        raise Unreadable("its checksum does not fit")
    return sequence, payload


def write(path: str, sequence: int, payload: bytes) -> None:
    """Put a record into a file; it is made, for the user alone, if it is not there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.pwrite(descriptor, pack(sequence, payload), sequence % 2 * _HALF)
    finally:
        os.close(descriptor)


def read(name: str, *, at: int | None = None) -> tuple[int, bytes]:
    """Return the sequence and the payload of the later record in a file.

    Raises:
        Unreadable: there is none, or it cannot be trusted.
    """
    try:
        descriptor = places.open_checked(name, os.O_RDONLY, stat.S_IFREG, at=at)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    try:
        for attempt in range(_ATTEMPTS):
            try:
                return _later(descriptor)
            except Unreadable:
                # There may have been no other record yet; a page that is broken stays so.
                if attempt == _ATTEMPTS - 1:
                    raise
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    finally:
        os.close(descriptor)
    raise AssertionError("the last attempt returns or raises")


def _later(descriptor: int) -> tuple[int, bytes]:
    """Return the later one of those records that are whole.

    Raises:
        Unreadable: none is.
    """
    found: list[tuple[int, bytes]] = []
    problem = Unreadable("it is empty")
    for half in (0, _HALF):
        head = os.pread(descriptor, _HEADER.size, half)
        if not head.strip(b"\0"):
            continue  # nothing was written there yet
        length = _HEADER.unpack(head)[2] if len(head) == _HEADER.size else 0
        rest = os.pread(descriptor, min(length, LARGEST), half + len(head))
        try:
            found.append(unpack(head + rest))
        except Unreadable as error:
            problem = error
    if not found:
        raise problem
    return max(found)
