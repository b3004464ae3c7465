"""Files without a name, shared between a parent and one child, and framed messages in them.

A pipe holds 64 KB and blocks its writer when it is full: a child whose parent waits for its end
before reading would never end. A file takes everything at once, outlives its writer, and large
buffers in it are mapped instead of copied. It is a ``memfd`` on Linux, and an unlinked temporary
file elsewhere and where a sandbox forbids memfds or Python does not know them; nothing is left
behind, whoever is killed.

A message is committed by its header, which is written last: what a killed writer left half done
is not there for the reader.

    offset  header: magic, size of the table
            table:  kind, flag, sizes of the parts
            parts:  each aligned to a cache line
"""

from __future__ import annotations

import errno
import os
import struct
import sys

# ``typing`` costs each new interpreter 2 ms; type checkers know this name for what it is.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["create", "read", "read_message", "write_message"]

_MAGIC = b"tines\0\1\n"
_HEADER = struct.Struct("=8sQ")
_TABLE = struct.Struct("=BBI")
_ALIGNMENT = 64
_IN_MEMORY = "/dev/shm"

_SMALL = 64 * 1024
_MOST_GATHERED = 1024 * 1024

# A mapping keeps a descriptor open for as long as it lives, so smaller messages are read into
# ordinary memory.
_MAP_FROM = 1024 * 1024


def create(name: str) -> int:
    """Make a file without a name and return its descriptor, which is closed on exec."""
    if sys.platform == "linux":
        try:
            return os.memfd_create(name, os.MFD_CLOEXEC)
        except AttributeError:
            pass  # an interpreter that was built for older systems, as Conda's are
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
                raise
    import tempfile

    # In memory, where there is a folder for that; it may be the only one that can be written to.
    folder = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryFile(prefix=f"{name}-", dir=folder) as file:
        return os.dup(file.fileno())


def write_message(
    fd: int, parts: Sequence[Any], *, kind: int = 0, flag: int = 0, at: int = 0
) -> None:
    """Write one message at offset ``at``; for a reader it does not exist before this returns.

    Raises:
        OSError: there is no memory left for it.
    """
    views = [memoryview(part).cast("B") for part in parts]
    sizes = [view.nbytes for view in views]
    table = _TABLE.pack(kind, flag, len(sizes)) + struct.pack(f"={len(sizes)}Q", *sizes)
    position = at + _HEADER.size
    _write(fd, memoryview(table), position)
    position += len(table)
    small = bytearray()  # gathered, as a thousand calls cost more than a copy of so little
    for view in views:
        place = _aligned(position)
        if view.nbytes < _SMALL:
            small += bytes(place - position) + view
        else:
            _write(fd, memoryview(small), position - len(small))
            small = bytearray()
            _write(fd, view, place)
        position = place + view.nbytes
        if len(small) >= _MOST_GATHERED:
            _write(fd, memoryview(small), position - len(small))
            small = bytearray()
    _write(fd, memoryview(small), position - len(small))
    _write(fd, memoryview(_HEADER.pack(_MAGIC, len(table))), at)


def read_message(fd: int, *, at: int = 0) -> tuple[int, int, list[memoryview]] | None:
    """Return ``(kind, flag, parts)`` of the message at ``at``, or ``None`` if none was committed.

    The parts are writable and belong to this process alone: nobody sees what is written to them,
    and they stay valid when the descriptor is closed.
    """
    header = read(fd, _HEADER.size, at)
    if len(header) < _HEADER.size or not bytes(header).startswith(_MAGIC):
        return None
    size_of_table = _HEADER.unpack(header)[1]
    table = read(fd, size_of_table, at + _HEADER.size)
    kind, flag, count = _TABLE.unpack_from(table)
    position = at + _HEADER.size + size_of_table
    places = []
    for size in struct.unpack_from(f"={count}Q", table, _TABLE.size):
        position = _aligned(position)
        places.append((position - at, size))
        position += size
    whole = _contents(fd, at, position - at)
    return kind, flag, [whole[start : start + size] for start, size in places]


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _contents(fd: int, at: int, size: int) -> memoryview:
    if size < _MAP_FROM:
        return read(fd, size, at)
    import mmap

    if at % mmap.ALLOCATIONGRANULARITY:
        return read(fd, size, at)
    return memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_COPY, offset=at))


if hasattr(os, "pread"):

    def _read_into(fd: int, view: memoryview, position: int) -> int:
        """Fill as much of a buffer as can be read at once; return how much that is."""
        if hasattr(os, "preadv"):
            return os.preadv(fd, [view], position)
        # macOS before 11
        data = os.pread(fd, min(view.nbytes, _MOST_GATHERED), position)
        view[: len(data)] = data
        return len(data)

    def read(fd: int, size: int, position: int) -> memoryview:
        """Read ``size`` bytes, fewer only at the end of the file, without moving its position."""
        view = memoryview(bytearray(size))
        done = 0
        while done < size:
            count = _read_into(fd, view[done:], position + done)
            if count == 0:
                break
            done += count
        return view[:done]

    def _write(fd: int, view: memoryview, position: int) -> None:
        try:
            while view.nbytes:
                count = os.pwrite(fd, view, position)
                view = view[count:]
                position += count
        except OSError as error:
            raise _explained(error) from None

    def _explained(error: OSError) -> OSError:
        """Name the limit that a file without a name has run into."""
        if error.errno != errno.EFBIG:
            return error
        import resource

        return OSError(
            error.errno,
            "a child and its parent communicate through a file in memory, but this process may only "
            f"create files of up to {resource.getrlimit(resource.RLIMIT_FSIZE)[0]:,} bytes "
            "(RLIMIT_FSIZE): run it under `ulimit -f unlimited`",
        )

else:  # Windows: the position is moved, so a file has one user at a time

    def read(fd: int, size: int, position: int) -> memoryview:
        """Read ``size`` bytes, fewer only at the end of the file."""
        os.lseek(fd, position, os.SEEK_SET)
        data = bytearray()
        while len(data) < size and (piece := os.read(fd, size - len(data))):
            data += piece
        return memoryview(data)

    def _write(fd: int, view: memoryview, position: int) -> None:
        os.lseek(fd, position, os.SEEK_SET)
        while view.nbytes:
            view = view[os.write(fd, view) :]
