"""Where programs have their entries, and who may be trusted there.

::

    $XDG_RUNTIME_DIR/tines/     or  <temporary directory>/tines-<uid>/    0700, the user's own
        1234-9f86d081884c7d65/  one program: its pid, and a token that is never used again
            door                a FIFO that the program holds open
            page                what it shows
        watch-2c26b46b68ffc68f  the FIFO by which a reader is answered

Both are made under a name with a dot and appear by one ``rename``, with the FIFO already held. So
**what nobody holds is dead, and stays dead**: opening the FIFO for writing tells (``ENXIO``), whatever
became of the pid, and removing it cannot hit a living one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time

__all__ = [
    "DOOR",
    "PAGE",
    "Untrusted",
    "available",
    "directory",
    "is_held",
    "is_token",
    "make_directory",
    "open_checked",
    "open_directory",
    "remove_if_empty",
    "sweep",
    "token",
    "watch",
]

DOOR = "door"
PAGE = "page"
_WATCH = "watch-"

_UNFINISHED = 60.0
"""Seconds after which an entry that was begun and never appeared is debris. Making one takes less than a
thousandth of one; a program stopped for a minute in that moment is merely not seen."""

_EXPECTED = {stat.S_IFDIR: "a directory", stat.S_IFREG: "a file", stat.S_IFIFO: "a FIFO"}


class Untrusted(OSError):
    """Something is in the place that is not ours, or that others may write to."""


def available() -> bool:
    """Return whether this system has what it takes: FIFOs, and owners of files."""
    return hasattr(os, "mkfifo") and hasattr(os, "getuid")


def directory() -> str:
    """Return the path of the directory of all entries, whether or not it exists."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        with contextlib.suppress(OSError):
            if os.stat(runtime).st_uid == os.getuid():
                return os.path.join(runtime, "tines")
    # Not ``tempfile``, which costs a program's first queue several milliseconds and says the same.
    return os.path.join(os.environ.get("TMPDIR") or "/tmp", f"tines-{os.getuid()}")


def token() -> str:
    """Return a name that was never used and never will be."""
    return os.urandom(8).hex()


def is_token(text: str) -> bool:
    """Return whether something could come from :func:`token`."""
    return len(text) == 16 and not set(text) - set("0123456789abcdef")


def watch(ticket: str) -> str:
    """Return the name of the FIFO of the reader with a ticket."""
    return _WATCH + ticket


def _is_entry(name: str) -> bool:
    pid, _, rest = name.partition("-")
    return pid.isdecimal() and is_token(rest)


def _is_watch(name: str) -> bool:
    return name.startswith(_WATCH) and is_token(name[len(_WATCH) :])


def make_directory(path: str) -> None:
    """Make the directory of all entries, if it is not there.

    Raises:
        Untrusted: what is there is not a directory of this user's alone.
        OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    os.close(open_directory(path))


def open_directory(path: str, *, at: int | None = None) -> int:
    """Open a directory that must be this user's alone; return the descriptor.

    Raises:
        Untrusted: it is not.
        FileNotFoundError: there is none.
    """
    return open_checked(path, os.O_RDONLY | os.O_DIRECTORY, stat.S_IFDIR, at=at)


def open_checked(name: str, flags: int, kind: int, *, at: int | None = None) -> int:
    """Open something without following a link, and without waiting; check what it is.

    Raises:
        Untrusted: it is of another kind, belongs to somebody else, or others may use it.
        OSError: it cannot be opened.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
            raise Untrusted(error.errno, f"not {_EXPECTED[kind]}", name) from None
        raise
    status = os.fstat(descriptor)
    why = None
    if stat.S_IFMT(status.st_mode) != kind:
        why = f"not {_EXPECTED[kind]}"
    elif status.st_uid != os.getuid():
        why = f"owned by user {status.st_uid}"
    elif status.st_mode & 0o077:
        why = f"open to others (mode {stat.S_IMODE(status.st_mode):04o})"
    if why is None:
        return descriptor
    os.close(descriptor)
    raise Untrusted(errno.EPERM, why, name)


def remove_if_empty(path: str) -> None:
    """Remove the directory of all entries behind the last one."""
    with contextlib.suppress(OSError):
        os.rmdir(path)


def sweep(base: int) -> list[str]:
    """Remove what dead programs and readers left; return the entries that are alive.

    Args:
        base: A descriptor of the directory of all entries.
    """
    alive = []
    for name in sorted(os.listdir(base)):
        if _is_entry(name):
            if is_held(name, base):
                alive.append(name)
            else:
                _remove_entry(name, base)
        elif _is_watch(name):
            if not _held(name, base):
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=base)
        elif name.startswith(".") and _is_debris(name, base):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=base)
            _remove_entry(name, base)
    return alive


def is_held(entry: str, base: int) -> bool:
    """Return whether the program of an entry is alive."""
    return _held(f"{entry}/{DOOR}", base)


def _held(door: str, base: int) -> bool:
    """Return whether a process has the FIFO open. What is no FIFO of ours is left alone."""
    try:
        os.close(open_checked(door, os.O_WRONLY, stat.S_IFIFO, at=base))
    except (FileNotFoundError, Untrusted) as error:
        return isinstance(error, Untrusted)
    except OSError as error:
        return error.errno != errno.ENXIO
    return True


def _is_debris(name: str, base: int) -> bool:
    try:
        status = os.stat(name, dir_fd=base, follow_symlinks=False)
    except OSError:
        return False
    return time.time() - status.st_mtime > _UNFINISHED


def _remove_entry(name: str, base: int) -> None:
    with contextlib.suppress(OSError):
        entry = open_directory(name, at=base)
        try:
            for part in (DOOR, PAGE):
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=entry)
        finally:
            os.close(entry)
        os.rmdir(name, dir_fd=base)
