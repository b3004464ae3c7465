"""``tines stacks``: ask processes for their stacks from outside, by their pid.

A child of tines holds the file its parent reads (:mod:`tines.process.stacks`); through ``/proc``
anybody with the rights of its user can read it as well. Asking goes by the same signal.

That signal ends a process without a handler for it. So it is sent only to a process that has such a
file and a handler, and through a descriptor for the process that was made before both were looked at
(where the system has those): it cannot reach another one that was given the same number meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from tines import _clock
from tines.process.stacks import FILE_NAME, INTERVAL, STACKS_SIGNAL, blocking, has_ended, listens

__all__ = ["run", "stacks_of"]

_FILE = f"/memfd:{FILE_NAME}"

_SHOWN = 10
"""How many processes are named instead of one that cannot be asked."""


def run(pid: int, *, timeout: float) -> int:
    """Print the stacks of a process and its descendants; return the exit code."""
    if STACKS_SIGNAL is None:
        print("tines stacks needs Linux", file=sys.stderr)
        return 2
    if not os.path.exists(f"/proc/{pid}"):
        print(f"there is no process {pid}", file=sys.stderr)
        return 2
    if not os.access(f"/proc/{pid}/fd", os.R_OK):
        print(f"process {pid}: {_command(pid)}\n  is not yours to ask", file=sys.stderr)
        return 2
    if not _files(pid):
        _refuse(pid)
        return 2
    answers = [_answer(each, timeout) for each in [pid, *_descendants(pid, _children())]]
    asked = [answer for answer in answers if answer is not None]
    if not asked:
        print(
            f"process {pid} does not answer the signal that asks for stacks: {_command(pid)}",
            file=sys.stderr,
        )
    return 0 if asked and all(asked) else 1


def _refuse(pid: int) -> None:
    """Say that a process does not run tines, and which of those that it started do."""
    print(
        f"process {pid} does not run tines, or has not started a process with it: {_command(pid)}",
        file=sys.stderr,
    )
    children = _children()
    below = [each for each in _descendants(pid, children) if _files(each)]
    inner = {each for top in below for each in _descendants(top, children)}
    tops = [each for each in below if each not in inner]
    for each in tops[:_SHOWN]:
        print(f"  of the processes that it started, {each} does: {_command(each)}", file=sys.stderr)
    if len(tops) > _SHOWN:
        print(f"  and so do {len(tops) - _SHOWN} more", file=sys.stderr)


def _answer(pid: int, timeout: float) -> bool | None:
    """Print the stacks of a process; whether there were any, ``None`` if it cannot be asked."""
    text = stacks_of(pid, timeout)
    if text is None:
        return None
    print(f"process {pid}: {_command(pid)}")
    print(text or f"  no answer in {timeout:g} s: is it stopped?\n")
    return bool(text)


def stacks_of(pid: int, timeout: float) -> str | None:
    """Return the stacks of a process, which goes on.

    Args:
        pid: The process.
        timeout: Seconds that it has to answer.

    Returns:
        Its stacks; nothing if it does not answer; ``None`` if it cannot be asked.
    """
    if STACKS_SIGNAL is None:
        return None
    from tines.process.start import (
        popen,  # there is none on Windows, which has no such signal either
    )

    process = None
    if popen.HAVE_PIDFD:
        try:
            process = os.pidfd_open(pid)
        except OSError:
            return None  # it has ended
    try:
        if not (files := _files(pid)) or not listens(pid):
            return None
        text = _ask(pid, process, files, timeout)
    finally:
        if process is not None:
            os.close(process)
    if text is None and has_ended(pid):
        return None
    return text or ""


def _ask(pid: int, process: int | None, files: list[int], timeout: float) -> str | None:
    """Send the signal; the stacks are in the file whose position moves."""
    assert STACKS_SIGNAL is not None
    before = {fd: _position(pid, fd) for fd in files}
    blocked = blocking(pid)
    try:
        if process is None:
            os.kill(pid, STACKS_SIGNAL)
        else:
            signal.pidfd_send_signal(process, STACKS_SIGNAL)
    except ProcessLookupError:
        return None
    deadline = _clock.monotonic() + timeout
    last = before
    while _clock.monotonic() < deadline and not has_ended(pid):
        _clock.sleep(INTERVAL)
        now = {fd: _position(pid, fd) for fd in files}
        for fd in files:
            if now[fd] == last[fd] > before[fd] and blocking(pid) <= blocked:
                return _read(pid, fd, before[fd], now[fd])
        last = now
    return None


def _read(pid: int, fd: int, start: int, end: int) -> str | None:
    try:
        with open(f"/proc/{pid}/fd/{fd}", "rb") as file:
            return os.pread(file.fileno(), end - start, start).decode("utf-8", "replace")
    except OSError:
        return None


def _files(pid: int) -> list[int]:
    """Return the descriptors of a process for stacks: its parent's, and perhaps its own."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.readlink(f"/proc/{pid}/fd/{name}").startswith(_FILE):
                    found.append(int(name))
    return found


def _position(pid: int, fd: int) -> int:
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}") as info:
            return int(info.readline().split()[1])
    except (OSError, ValueError):
        return 0


def _children() -> dict[int, list[int]]:
    """Return the children of all processes."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        parent = _parent(int(name))
        if parent is not None:
            children.setdefault(parent, []).append(int(name))
    return children


def _descendants(pid: int, children: dict[int, list[int]]) -> list[int]:
    found: list[int] = []
    todo = [pid]
    while todo:
        below = sorted(children.get(todo.pop(), ()))
        found += below
        todo += below
    return found


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return cmdline.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return "(gone)"
