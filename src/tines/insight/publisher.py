"""The program's side: an entry, and a thread that answers readers.

The thread sleeps in ``poll`` at the door. A poke is a reader's ticket, 16 hexadecimal digits and a line
feed. Whatever pokes have come, the page is written once, then each reader is told. A page that is
younger than :data:`FRESH` is not written again, so readers in any number cost no more than that.

A fork waits until no answer is under way, so the child inherits no lock that the thread holds. From
Python 3.12 on, which warns of forks in programs with threads, the thread is even stopped before the fork
and started again behind it, if only the main thread is there besides: such a program forks as what
it is, one with a single thread. The child lets go of the door at once; if it makes pools or queues,
it has an entry of its own.

Lock order: ``_lock`` guards the one publisher of this process, across forks too; under it the
publisher's ``_answering``, which the thread holds while it answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import stat
import sys
import threading
import time
import weakref
from multiprocessing import current_process
from multiprocessing.util import Finalize

from tines import _clock
from tines._fork import Rank, at_fork
from tines._threads import PlainThread
from tines.insight import page, places
from tines.insight.values import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tines.insight.values import Plain

__all__ = ["FRESH", "publish", "withdraw"]

FRESH = 0.05
"""Seconds for which a page answers readers that come after it was written."""

_PATIENCE = 1.0
"""Seconds that a fork, or the end of the program, waits for an answer under way. Beyond that it
goes on without: some ``statistics()`` is stuck, perhaps on what the forking thread holds."""

_ATTEMPTS = 10

_WARNED_OF = sys.version_info >= (3, 12)
"""Whether the interpreter warns of forks in programs with threads."""

# Reentrant: a queue may be made by a finalizer, at any allocation.
_lock = threading.RLock()
_publisher: Publisher | None = None
_things: dict[int, tuple[int, weakref.ref[Any]]] = {}
_made = 0


def publish(thing: object) -> None:
    """Have readers see a pool or queue from now on, for as long as it lives. Any thread."""
    global _publisher, _made
    with _lock:
        _made += 1
        key = id(thing)
        _things[key] = (_made, weakref.ref(thing, lambda _: _things.pop(key, None)))
        if _publisher is None and places.available():
            _publisher = Publisher()
            _publisher.start()


def withdraw(thing: object) -> None:
    """Have readers see it no more. Any thread, finalizers too: it takes no lock."""
    _things.pop(id(thing), None)


class Publisher:
    """See the module.

    Attributes:
        name: The name of the entry, ``None`` if none could be made.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._base = ""
        self._door = -1
        self._since = time.time()
        self._sequence = 0
        self._written = float("-inf")
        self._spent = 0.0
        self._thread: _Answers | None = None
        self._answering = threading.Lock()
        self._held = False
        # Forks under way: a signal handler may fork in the midst of one.
        self._forks = 0

    def start(self) -> None:
        """Make the entry and start the thread; where that is impossible, do without."""
        try:
            self._enter()
        except OSError:
            self._leave()
            return
        # Behind the joining of children, which may take long and be worth a look.
        Finalize(None, self.stop, exitpriority=-20)
        self.resume()

    def _enter(self) -> None:
        """Make the entry under another name, and have it appear.

        Raises:
            OSError: there is no place for it.
        """
        base = places.directory()
        name = f"{os.getpid()}-{places.token()}"
        hidden = os.path.join(base, "." + name)
        for attempt in range(_ATTEMPTS):
            places.make_directory(base)
            self._base = base
            try:
                os.mkdir(hidden, 0o700)
                break
            except FileNotFoundError:
                # Whoever left last has just removed the directory.
                if attempt == _ATTEMPTS - 1:
                    raise
        door = os.path.join(hidden, places.DOOR)
        os.mkfifo(door, 0o600)
        # For writing too: it is never at its end, and this process can wake its thread.
        self._door = os.open(door, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.name = "." + name
        self._write([])
        os.rename(hidden, os.path.join(self._base, name))
        self.name = name
        self._sweep()

    def _sweep(self) -> None:
        with contextlib.suppress(OSError):
            base = places.open_directory(self._base)
            try:
                places.sweep(base)
            finally:
                os.close(base)

    def _leave(self) -> None:
        if self.name is not None:
            entry = os.path.join(self._base, self.name)
            self.name = None
            for part in (places.DOOR, places.PAGE):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(entry, part))
            places.remove_if_empty(entry)
        if self._base:
            places.remove_if_empty(self._base)
        self.forget()

    def forget(self) -> None:
        """Let go of the door: in a forked child, or at the end."""
        if self._door >= 0:
            os.close(self._door)
            self._door = -1

    def stop(self) -> None:
        """End it: the thread, the entry, and what dead programs left beside it."""
        global _publisher
        with _lock:
            if _publisher is not self:
                return
            if not self.park():
                # The thread may still read the door, so the number stays taken.
                self._door = -1
            self._sweep()
            self._leave()
            _publisher = None

    def resume(self) -> None:
        """Start the thread."""
        if self._door >= 0:
            try:
                self._thread = _Answers(self._door, self.answer)
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._thread = None

    def park(self) -> bool:
        """Stop the thread; whether it has ended."""
        thread, self._thread = self._thread, None
        return thread is None or thread.end()

    def before_fork(self) -> None:
        """Have the thread do nothing until :meth:`after_fork`."""
        self._forks += 1
        if self._forks > 1:
            return
        if _WARNED_OF and _alone():
            self.park()
        else:
            self._held = self._answering.acquire(timeout=_PATIENCE)

    def after_fork(self) -> None:
        """In the parent: let it go on."""
        self._forks -= 1
        if self._forks:
            return
        if self._held:
            self._held = False
            self._answering.release()
        elif self._thread is None:
            self.resume()

    def answer(self, tickets: set[str]) -> None:
        """Write the page and tell the readers. The thread only."""
        with self._answering:
            before = time.thread_time()
            if _clock.monotonic() - self._written > FRESH:
                self._write(_pictures())
                self._written = _clock.monotonic()
            for ticket in tickets:
                self._tell(places.watch(ticket))
            self._spent += time.thread_time() - before

    def _tell(self, watch: str) -> None:
        assert self.name is not None
        with contextlib.suppress(OSError):
            # Opened for reading too: writing to a reader that has gone would be SIGPIPE.
            path = os.path.join(self._base, watch)
            reader = places.open_checked(path, os.O_RDWR, stat.S_IFIFO)
            try:
                os.write(reader, self.name.encode() + b"\n")
            finally:
                os.close(reader)

    def _write(self, things: list[dict[str, Plain]]) -> None:
        assert self.name is not None
        self._sequence += 1
        head = {
            "pid": os.getpid(),
            "started": _started(),
            "parent": os.getppid(),
            "since": self._since,
            "name": plain(" ".join(sys.orig_argv)),
            "process": current_process().name,
            "python": ".".join(map(str, sys.version_info[:3])),
            "version": sys.modules["tines"].__version__,
            "taken": _clock.monotonic(),
            "spent": self._spent,
        }
        while len(payload := json.dumps({**head, "things": things}).encode()) > page.LARGEST:
            # The latest are let go of first.
            things = things[: len(things) // 2]
        page.write(os.path.join(self._base, self.name, places.PAGE), self._sequence, payload)


class _Answers(PlainThread):
    """One run of the thread, from a start or fork to the next."""

    def __init__(self, door: int, answer: Callable[[set[str]], object]) -> None:
        super().__init__(self._listen)
        self._leaving = False
        self._door = door
        self._answer = answer

    def end(self) -> bool:
        """Have it end; whether it has."""
        if self.is_current:
            return False
        self._leaving = True
        with contextlib.suppress(OSError):
            os.write(self._door, b"\n")
        return self.join(_PATIENCE)

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._door, select.POLLIN)
        while not self._leaving:
            poll.poll()
            try:
                said = os.read(self._door, 65536).decode("ascii", "replace").split()
                if tickets := set(filter(places.is_token, said)):
                    self._answer(tickets)
            except Exception:
                # No descriptors, no memory, a full disk: the reader sees that nobody answers.
                pass


def _alone() -> bool:
    """Whether there is only the main thread besides."""
    try:
        return len(os.listdir("/proc/self/task")) == 2
    except OSError:
        return threading.active_count() == 1


def _pictures() -> list[dict[str, Plain]]:
    """Ask all pools and queues for their statistics, the first made first."""
    found = []
    for number, reference in sorted(_things.copy().values(), key=lambda entry: entry[0]):
        thing = reference()
        if thing is None:
            continue
        picture: dict[str, Plain] = {
            "number": number,
            "kind": type(thing).__name__,
            "statistics": {},
        }
        try:
            picture["statistics"] = plain(thing.statistics())
        except Exception as error:
            picture["error"] = plain(f"{type(error).__name__}: {error}")
        found.append(picture)
        del thing
    return found


def _started() -> int:
    """Return when this process started, as ``/proc`` has it; 0 where there is none."""
    try:
        with open("/proc/self/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _before_fork() -> None:
    _lock.acquire()
    if _publisher is not None:
        _publisher.before_fork()


def _after_fork_in_parent() -> None:
    if _publisher is not None:
        _publisher.after_fork()
    _lock.release()


def _after_fork_in_child() -> None:
    global _publisher, _made
    if _publisher is not None:
        _publisher.forget()
    _publisher = None
    _things.clear()
    _made = 0
    _lock.release()


at_fork(
    Rank.PUBLISHER,
    before=_before_fork,
    parent=_after_fork_in_parent,
    child=_after_fork_in_child,
)
