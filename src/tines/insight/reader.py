"""The other side: ask all programs of the user, wait for their answers, read their pages.

A sample is taken in three steps: sweep, and poke every door that is held; wait until all have answered or
the time is up; read the pages. A program that does not answer (it is stopped, or hangs in C code with
the GIL) is shown as it was when it last did.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
from dataclasses import dataclass, replace
from types import TracebackType

from tines import _clock
from tines.insight import model, page, places
from tines.insight.places import Untrusted

__all__ = ["Reader", "Refused", "Sample", "Untrusted"]


@dataclass(frozen=True)
class Refused:
    """An entry that cannot be shown.

    Attributes:
        entry: Its path.
        why: What is the matter with it.
    """

    entry: str
    why: str


@dataclass(frozen=True)
class Sample:
    """What all programs showed at one moment; sorted by pid."""

    programs: tuple[model.Program, ...] = ()
    refused: tuple[Refused, ...] = ()


class Reader:
    """Takes samples; to be closed, or used in a ``with`` statement. One thread at a time.

    Args:
        directory: Where the entries are; the user's own place by default.

    Raises:
        NotImplementedError: this system has no FIFOs.
    """

    def __init__(self, directory: str | None = None) -> None:
        if not places.available():
            raise NotImplementedError(
                "programs can be watched where there are FIFOs: not on Windows"
            )
        self.directory = places.directory() if directory is None else directory
        self._ticket = ""
        self._ear = -1

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what answers came through."""
        if self._ear >= 0:
            os.close(self._ear)
            self._ear = -1
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.directory, places.watch(self._ticket)))
            places.remove_if_empty(self.directory)

    def sample(self, timeout: float = 0.5) -> Sample:
        """Ask everybody; return what they show.

        Args:
            timeout: Seconds to wait for those that do not answer at once.

        Raises:
            Untrusted: the directory is not this user's alone.
            OSError: it cannot be read.
        """
        try:
            base = places.open_directory(self.directory)
        except FileNotFoundError:
            return Sample()
        try:
            entries = places.sweep(base)
            if not entries:
                return Sample()
            try:
                self._listen()
            except FileNotFoundError:
                return Sample()  # the last program has gone, and the directory with it
            asked = {entry for entry in entries if self._poke(entry, base)}
            answered = self._hear(asked, _clock.monotonic() + timeout)
            return _read_all(self.directory, base, entries, answered)
        finally:
            os.close(base)

    def _listen(self) -> None:
        path = os.path.join(self.directory, places.watch(self._ticket))
        if self._ear >= 0:
            if os.path.exists(path):
                return
            os.close(self._ear)
            self._ear = -1
        self._ticket = places.token()
        path = os.path.join(self.directory, places.watch(self._ticket))
        # Under another name until it is held: somebody may be sweeping.
        hidden = os.path.join(self.directory, f".{places.watch(self._ticket)}")
        os.mkfifo(hidden, 0o600)
        self._ear = os.open(hidden, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.rename(hidden, path)

    def _poke(self, entry: str, base: int) -> bool:
        """Ask one program; whether it may answer."""
        try:
            door = places.open_checked(f"{entry}/{places.DOOR}", os.O_WRONLY, stat.S_IFIFO, at=base)
        except OSError:
            return False
        try:
            # Less than PIPE_BUF, so all of it or nothing; nothing if it has not read for long.
            os.write(door, f"{self._ticket}\n".encode())
        except OSError:
            return False
        finally:
            os.close(door)
        return True

    def _hear(self, asked: set[str], deadline: float) -> set[str]:
        """Wait for answers; return whose came."""
        answered: set[str] = set()
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        while asked - answered:
            left = deadline - _clock.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                break
            answered.update(os.read(self._ear, 65536).decode("ascii", "replace").split())
        return answered


def _read_all(directory: str, base: int, entries: list[str], answered: set[str]) -> Sample:
    programs, refused = [], []
    for entry in entries:
        try:
            program = _read(entry, base)
        except page.Unreadable as error:
            # It may have ended meanwhile: then its entry is gone, or on its way.
            if places.is_held(entry, base):
                refused.append(Refused(os.path.join(directory, entry), str(error)))
            continue
        if entry in answered:
            programs.append(program)
        elif not _is_gone(program):
            programs.append(replace(program, answering=False))
    programs.sort(key=lambda program: program.pid)
    return Sample(tuple(programs), tuple(refused))


def _read(entry: str, base: int) -> model.Program:
    try:
        inside = places.open_directory(entry, at=base)
    except OSError as error:
        raise page.Unreadable(error.strerror or str(error)) from None
    try:
        _, payload = page.read(places.PAGE, at=inside)
    finally:
        os.close(inside)
    program = model.parse(payload)
    if not entry.startswith(f"{program.pid}-"):
        raise page.Unreadable(f"its page is that of process {program.pid}")
    return program


def _is_gone(program: model.Program) -> bool:
    """Return whether a silent program has ended, and only a child that C code forked holds its door."""
    if not program.started or not os.path.exists("/proc/self/stat"):
        return False
    try:
        with open(f"/proc/{program.pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[19]) != program.started or fields[0] in (b"Z", b"X")
    except (OSError, ValueError, IndexError):
        return True
