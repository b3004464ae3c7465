"""``tines stacks``: ask processes for their stacks from outside, by their pid.

A child of tines holds the file its parent reads (:mod:`tines.process.stacks`); through ``/proc``
anybody with the rights of its user can read it as well. Asking goes by the same signal.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from tines.process.stacks import FILE_NAME, SETTLED, STACKS_SIGNAL, listens

__all__ = ["run"]

_FILE = f"/memfd:{FILE_NAME}"


def run(pid: int, *, timeout: float) -> int:
    """Print the stacks of a process and its descendants; return the exit code."""
    if STACKS_SIGNAL is None:
        print("tines stacks needs Linux", file=sys.stderr)
        return 2
    if not os.path.exists(f"/proc/{pid}"):
        print(f"there is no process {pid}", file=sys.stderr)
        return 2
    asked = answered = 0
    for each in [pid, *_descendants(pid)]:
        if not listens(each) or not (files := list(_files(each))):
            continue
        asked += 1
        text = _ask(each, files, timeout)
        answered += text is not None
        print(f"process {each}: {_command(each)}")
        print(text if text is not None else f"  no answer in {timeout:g} s: is it stopped?\n")
    if not asked:
        print(
            f"neither {pid} nor a descendant is a process that tines started and that you may ask",
            file=sys.stderr,
        )
    return 0 if asked and asked == answered else 1


def _ask(pid: int, files: list[int], timeout: float) -> str | None:
    """Send the signal; the stacks are in the file whose position moves."""
    assert STACKS_SIGNAL is not None
    before = {fd: _position(pid, fd) for fd in files}
    try:
        os.kill(pid, STACKS_SIGNAL)
    except ProcessLookupError:
        return None
    deadline = time.monotonic() + timeout
    last = before
    while time.monotonic() < deadline:
        # ``faulthandler`` tells nobody when it has finished.
        time.sleep(SETTLED)
        now = {fd: _position(pid, fd) for fd in files}
        for fd in files:
            if now[fd] == last[fd] > before[fd]:
                return _read(pid, fd, before[fd], now[fd])
        last = now
    return None


def _read(pid: int, fd: int, start: int, end: int) -> str | None:
    try:
        with open(f"/proc/{pid}/fd/{fd}", "rb") as file:
            return os.pread(file.fileno(), end - start, start).decode("utf-8", "replace")
    except OSError:
        return None


def _files(pid: int) -> Iterator[int]:
    """Yield the descriptors of a process for stacks: its parent's, and perhaps its own."""
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith(_FILE):
                yield int(name)
    except OSError:
        return


def _position(pid: int, fd: int) -> int:
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}") as info:
            return int(info.readline().split()[1])
    except (OSError, ValueError):
        return 0


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                parent = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = sorted(children.get(todo.pop(), ()))
        found += below
        todo += below
    return found


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return cmdline.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return "(gone)"
