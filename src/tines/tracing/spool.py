"""A spool: the file of bounded size into which one process writes its records.

The file is mapped, so to write is to store into memory, and what a killed process stored is in the
file. Storage is reserved before it is mapped in use: a full disk is an error that is noticed, not a
SIGBUS. When the spool is full, the oldest segment is overwritten; what it held is added to the totals in
the header first, so that sums stay right whatever was dropped.

::

    header   4 KB: words, see ``_Word``; two sets of totals, of which ``TOTALS`` names the valid one
    names    28 KB of texts, each with its length in two bytes
    records  segments of 256 records

Any thread may write, under a lock that a signal handler may enter again. A reader needs none; it
ignores what is not finished.
"""

from __future__ import annotations

import enum
import itertools
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from tines import _clock
from tines.tracing.records import RECORD, SIZE, Kind, Record, Totals, kind_of

__all__ = ["SMALLEST", "Role", "Spool", "SpoolReader", "stop"]

_MAGIC = int.from_bytes(b"tines-t1", "little")
_HEADER = 4096
_START = 32 * 1024
_PER_SEGMENT = 256
_SEGMENT = _PER_SEGMENT * SIZE
_LONGEST_NAME = 200
_LENGTH = struct.Struct("=H")

SMALLEST = _START + 2 * _SEGMENT
"""The smallest spool in bytes."""


class _Word(enum.IntEnum):
    """Words of the header."""

    MAGIC = 0
    PID = 1
    IDENTITY = 2
    OPENED = 3
    WALL = 4
    SEGMENTS = 5
    REACHED = 6
    TOTALS = 7
    NAMES_END = 8
    STOPPED = 9
    ROLE = 10
    POOL_OWNER = 11
    POOL = 12
    SLOT = 13
    PARENT = 14
    NAME = 15
    CORE_WAIT = 16
    # Two sets: how many segments were folded into them, then the totals themselves.
    FIRST = 32
    SECOND = 64


_STOPPED = int(_Word.STOPPED)


class Role(enum.IntEnum):
    """What a process is in the trace."""

    MAIN = 1
    PROCESS = 2
    WORKER = 3


class Spool:
    """The writer's side. Its memory stays mapped for as long as somebody may write.

    Attributes:
        identity: A number that no other spool has.
        memory: The mapped file.
        words: The same as 64-bit words.
    """

    def __init__(
        self, path: Path, max_bytes: int, *, name: str, role: Role, parent: int = 0
    ) -> None:
        """Make the file.

        Raises:
            OSError: there is no room for it, or no right to make it.
        """
        self._segments = max(2, (max_bytes - _START) // _SEGMENT)
        self._capacity = self._segments * _PER_SEGMENT
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._ready = 0
        self._totals = Totals()
        self._name_numbers: dict[str, int] = {}
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._fd = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            size = _START + self._segments * _SEGMENT
            os.ftruncate(self._fd, size)
            _reserve(self._fd, 0, _START + _SEGMENT)
            self.memory = mmap.mmap(self._fd, size)
        except BaseException:
            os.close(self._fd)
            raise
        self.words = memoryview(self.memory).cast("Q")
        self.identity = int.from_bytes(os.urandom(8), "little") | 1
        words = self.words
        words[_Word.PID] = os.getpid()
        words[_Word.IDENTITY] = self.identity
        words[_Word.OPENED] = _clock.monotonic_ns()
        words[_Word.WALL] = time.time_ns()
        words[_Word.SEGMENTS] = self._segments
        words[_Word.TOTALS] = _Word.FIRST
        words[_Word.ROLE] = role
        words[_Word.PARENT] = parent
        words[_Word.NAMES_END] = _HEADER
        self.name(name)
        words[_Word.MAGIC] = _MAGIC

    @property
    def pid(self) -> int:
        """The process that writes it."""
        return self.words[_Word.PID]

    @property
    def opened(self) -> int:
        """When it was made."""
        return self.words[_Word.OPENED]

    @property
    def stopped(self) -> bool:
        """Whether the trace has ended, and records are of use to nobody."""
        return self.words[_STOPPED] != 0

    def join_pool(self, owner: int, pool: int, slot: int) -> None:
        """This process is a worker: of which pool (of which spool), and in which slot."""
        self.words[_Word.POOL_OWNER] = owner
        self.words[_Word.POOL] = pool
        self.words[_Word.SLOT] = slot
        self.words[_Word.ROLE] = Role.WORKER

    def rename(self, name: str) -> None:
        """The process is called otherwise than was known when the spool was made."""
        self.words[_Word.NAME] = self.name(name)

    def note_core_wait(self, nanoseconds: int) -> None:
        """The process has waited for a core for so long, all in all."""
        self.words[_Word.CORE_WAIT] = nanoseconds

    def close(self) -> None:
        """Let go of the file; what is still written goes nowhere. Once is enough."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def take(self) -> int:
        """Return the number of a new record, all zero, for the caller to fill in."""
        number = next(self._numbers)
        if number >= self._ready:
            self._enter(number)
        return number

    def place(self, number: int) -> int:
        """Return where a record is, in bytes."""
        return _START + number % self._capacity * SIZE

    def holds(self, number: int) -> bool:
        """Whether a record has not been dropped meanwhile."""
        return number >= self._ready - self._capacity

    def write(self, *words: int) -> None:
        """Write a whole record: eight words."""
        # Under the lock, or a thread could come back to a place that has been given to another since.
        with self._lock:
            number = next(self._numbers)
            if number >= self._ready:
                self._enter(number)
            # The words are stored in order: the last one says that the others are there.
            RECORD.pack_into(self.memory, _START + number % self._capacity * SIZE, *words)

    def name(self, text: str) -> int:
        """Return the number of a text, which is stored once; 0 when there is no room left."""
        number = self._name_numbers.get(text)
        if number is None:
            with self._lock:
                number = self._name_numbers.get(text)
                if number is None:
                    number = self._store(text)
        return number

    def _store(self, text: str) -> int:
        encoded = text.encode("utf-8", "replace")[:_LONGEST_NAME]
        end = self.words[_Word.NAMES_END]
        if end + _LENGTH.size + _LONGEST_NAME > _START:
            return 0
        _LENGTH.pack_into(self.memory, end, len(encoded))
        end += _LENGTH.size
        self.memory[end : end + len(encoded)] = encoded
        self.words[_Word.NAMES_END] = end + len(encoded)
        number = self._name_numbers[text] = len(self._name_numbers) + 1
        return number

    def _enter(self, number: int) -> None:
        """Make the segment of a record ready to be written."""
        with self._lock:
            while number >= self._ready:
                segment = self._ready // _PER_SEGMENT
                if 0 < segment < self._segments and not self._grow(segment):
                    # No more storage: from now on in a circle within what there is.
                    self._segments = segment
                    self._capacity = segment * _PER_SEGMENT
                    self.words[_Word.SEGMENTS] = segment
                if segment >= self._segments:
                    self._drop(segment - self._segments)
                self.words[_Word.REACHED] = segment + 1
                self._ready += _PER_SEGMENT

    def _grow(self, segment: int) -> bool:
        try:
            _reserve(self._fd, _START + segment * _SEGMENT, _SEGMENT)
        except OSError:
            return False
        return True

    def _drop(self, segment: int) -> None:
        """Add the oldest segment to the totals and clear it. Killed anywhere, the sums are right."""
        at = _START + segment % self._segments * _SEGMENT
        for record in RECORD.iter_unpack(self.memory[at : at + _SEGMENT]):
            self._totals.add(record)
        now = self.words[_Word.TOTALS]
        other = _Word.SECOND if now == _Word.FIRST else _Word.FIRST
        for index, value in enumerate([segment + 1, *self._totals.words()]):
            self.words[other + index] = value
        self.words[_Word.TOTALS] = other
        self.memory[at : at + _SEGMENT] = bytes(_SEGMENT)


class SpoolReader:
    """The reader's side: of a process that may be running, dead, or killed in the middle of a store.

    Attributes:
        path: The file.
        pid: The process.
        identity: See :class:`Spool`.
        name: The name of the process.
        role: What it is.
        opened: When the spool was made.
        wall: The same as time of day, in nanoseconds since 1970.
        pool: For a worker, the identity of the spool of the pool's process, and the pool's number.
        slot: For a worker, its slot.
        core_wait: For how many nanoseconds the process waited for a core.
        parent: The identity of the spool of the process that started this one, or 0.
        texts: What :meth:`Spool.name` stored; ``texts[0]`` is empty.
        dropped: Totals of the records that were overwritten.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ValueError: it is no spool, or its writer was killed before it was one.
            OSError: it cannot be read.
        """
        self.path = path
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < _START:
                raise ValueError(f"{path} is no spool")
            self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        words = memoryview(self._memory)[:_HEADER].cast("Q")
        if words[_Word.MAGIC] != _MAGIC:
            words.release()
            self._memory.close()
            raise ValueError(f"{path} is no spool")
        self.pid = words[_Word.PID]
        self.identity = words[_Word.IDENTITY]
        self.role = Role(words[_Word.ROLE])
        self.opened = words[_Word.OPENED]
        self.wall = words[_Word.WALL]
        self.pool = words[_Word.POOL_OWNER], words[_Word.POOL]
        self.slot = words[_Word.SLOT]
        self.core_wait = words[_Word.CORE_WAIT]
        self.parent = words[_Word.PARENT]
        self._segments = words[_Word.SEGMENTS]
        self._reached = words[_Word.REACHED]
        totals = words[_Word.TOTALS]
        self._folded = words[totals]
        count = len(fields(Totals))
        self.dropped = Totals(*words[totals + 1 : totals + 1 + count])
        self.texts = ["", *self._texts(words[_Word.NAMES_END])]
        number = words[_Word.NAME] or 1
        self.name = self.texts[number] if number < len(self.texts) else ""
        self.torn = 0
        words.release()

    def records(self) -> Iterator[tuple[int, Record]]:
        """Yield each record with its place, oldest first; counts those never finished in ``torn``.

        A task that was running is yielded, though it has no end.
        """
        self.torn = 0
        for segment in range(self._folded, self._reached):
            at = _START + segment % self._segments * _SEGMENT
            for place in range(at, at + _SEGMENT, SIZE):
                record = RECORD.unpack_from(self._memory, place)
                kind = kind_of(record)
                if kind and (record[7] or kind == Kind.TASK):
                    yield place, record
                elif any(record):
                    self.torn += 1

    def record(self, place: int) -> Record:
        """Return one record."""
        return RECORD.unpack_from(self._memory, place)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()

    def _texts(self, end: int) -> Iterator[str]:
        at = _HEADER
        while at < min(end, _START):
            (length,) = _LENGTH.unpack_from(self._memory, at)
            at += _LENGTH.size
            yield self._memory[at : at + length].decode("utf-8", "replace")
            at += length


def stop(path: Path) -> None:
    """Tell the process that writes a spool that nobody will read it."""
    with open(path, "r+b") as file:
        file.seek(_Word.STOPPED * 8)
        file.write((1).to_bytes(8, "little"))


def _reserve(fd: int, offset: int, size: int) -> None:
    """Have storage for a part of a file, so that a store into its mapping cannot fail."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, offset, size)
    elif hasattr(os, "pwrite"):
        os.pwrite(fd, bytes(size), offset)
