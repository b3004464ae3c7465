"""What one process has of this transport: its broker, its connections, and which channels it holds.

``current()`` is this process's :class:`Registry`. A forked child gets a new one; handles
notice by comparing. What the child inherited it closes at once (its copies would hide the parent's
death from everybody else), except what says to the owners that it lives: see ``_kept_open``.

Locks: ``Registry._lock`` may be held when a broker's lock is taken, never the other way round.
Finalizers take neither: they append to ``_given_up`` and wake whoever empties it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import Counter, deque

from tines._fork import Rank, at_fork
from tines.errors import TransportError
from tines.transport.contract import Buffer
from tines.transport.pipe.broker import LOCAL, Broker
from tines.transport.pipe.client import Remote, Watch, closed
from tines.transport.pipe.connection import Connection, Connections, NoAnswer
from tines.transport.pipe.door import Address
from tines.transport.pipe.local import Local, LocalWatch
from tines.transport.pipe.protocol import Frame, Op, Pass
from tines.transport.pipe.state import ChannelState

__all__ = ["Endpoint", "Key", "Registry", "current"]

# The owner's address, its pid, and its number for the channel.
Key = tuple[Address, int, int]
Endpoint = Local | Remote


class Registry:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.connections = Connections()
        self._lock = threading.RLock()
        self._broker: Broker | None = None
        self._handles: Counter[Key] = Counter()
        self._given_up: deque[tuple[Key, Watch | LocalWatch | None]] = deque()
        self._sessions: dict[Address, Connection] = {}
        # Held at the time of a fork: the child relies on it until it ends, so this process does
        # not let go before it ends itself.
        self._lent: set[Key] = set()
        # What a child that is started gets, with the passes of that: who dies first opens nothing.
        self._passes: weakref.WeakKeyDictionary[object, list[tuple[Key, int]]]
        self._passes = weakref.WeakKeyDictionary()
        self._unused: deque[list[tuple[Key, int]]] = deque()

    def broker(self) -> Broker:
        """Return this process's broker, started when needed.

        Raises:
            TransportError: it cannot be started.
        """
        if self._broker is None:
            with self._lock:
                if self._broker is None:
                    self._broker = Broker(self.sweep)
        return self._broker

    def endpoint(self, key: Key, leases: int) -> Endpoint:
        """Return how this process reaches a channel, which has so many lease slots.

        Raises:
            TransportError: it is this process's own, and no more.
        """
        address, pid, number = key
        if self._broker is None or not self.is_own(key):
            return Remote(self.connections, address, number, pid, leases)
        state = self._broker.channels.get(number)
        if state is None:
            raise closed()
        return Local(self._broker, state)

    # Holds.

    def made(self, key: Key) -> None:
        """Count the first handle of a channel made here."""
        with self._lock:
            self._handles[key] += 1

    def opened(self, key: Key, ticket: int) -> None:
        """Count a handle that was unpickled, whose pass is used up by it."""
        with self._lock:
            self._handles[key] += 1
            state = self._own(key)
            if self._broker is None or state is None:
                self._tell(key, Frame(Op.HOLD, key[2], tag=ticket))
            else:
                with self._broker.lock:
                    self._broker.hold(state, LOCAL)
                    self._broker.drop(state, Pass(ticket))
        self.sweep()

    def passed(self, key: Key, ticket: int, child: object = None) -> None:
        """Let a handle that is being pickled hold the channel until it is opened.

        Args:
            key: The channel.
            ticket: Of this pickle.
            child: The ``Popen`` of the only process that can open it; it does not if it dies before.
        """
        with self._lock:
            if child is not None:
                self._passes_of(child).append((key, ticket))
            state = self._own(key)
            if self._broker is None or state is None:
                self._tell(key, Frame(Op.PASS, key[2], tag=ticket))
            else:
                with self._broker.lock:
                    self._broker.hold(state, Pass(ticket))
        self.sweep()

    def _passes_of(self, child: object) -> list[tuple[Key, int]]:
        passes = self._passes.get(child)
        if passes is None:
            passes = self._passes[child] = []
            # Of a child that could not be started nobody says that it has ended.
            weakref.finalize(child, self._give_up_passes, passes).atexit = False
        return passes

    def _give_up_passes(self, passes: list[tuple[Key, int]]) -> None:
        """Let go of passes, soon. Takes no lock: a finalizer."""
        self._unused.append(passes)
        if self._broker is not None:
            self._broker.wake()

    def _withdraw(self, passes: list[tuple[Key, int]], pid: int = 0) -> None:
        """Let go of the passes of a child that has ended, as far as it did not use them up."""
        with self._lock:
            for key, ticket in passes:
                state = self._own(key)
                if self._broker is None or state is None:
                    self._tell(key, Frame(Op.WITHDRAW, key[2], number=pid, tag=ticket))
                    self._release(key)
                else:
                    with self._broker.lock:
                        self._broker.drop(state, Pass(ticket))
            passes.clear()

    def give_up(self, key: Key, watch: Watch | LocalWatch | None = None) -> None:
        """Count one handle less, soon, and close its watch. Takes no lock: finalizers call it."""
        self._given_up.append((key, watch))
        if self._broker is not None:
            self._broker.wake()

    def end(self, key: Key) -> None:
        """Let a channel that this process made go for everybody."""
        state = self._own(key)
        if self._broker is not None and state is not None:
            with self._broker.lock:
                self._broker.end(state)

    def sweep(self) -> None:
        """Let go of what was given up.

        Called by the broker's thread when it wakes, and by others where handles come and go. It
        does not wait for the lock: whoever has it may be connecting, and sweeps afterwards.
        """
        while (self._given_up or self._unused) and self._lock.acquire(blocking=False):
            try:
                if self._unused:
                    self._withdraw(self._unused.popleft())
                else:
                    self._let_go(*self._given_up.popleft())
            except IndexError:
                return
            finally:
                self._lock.release()

    def _let_go(self, key: Key, watch: Watch | LocalWatch | None) -> None:
        if watch is not None:
            watch.close()
        self._handles[key] -= 1
        if self._handles[key] > 0:
            return
        del self._handles[key]
        state = self._own(key)
        if self._broker is not None and state is not None:
            with self._broker.lock:
                self._broker.drop(state, LOCAL)
        elif key not in self._lent and key[0] in self._sessions:
            self._tell(key, Frame(Op.DROP, key[2]))
        self._release(key)

    def _release(self, key: Key) -> None:
        """Close the connections to an owner of whose channels none is left here."""
        if not any(other[0] == key[0] for other in (*self._handles, *self._lent)):
            session = self._sessions.pop(key[0], None)
            if session is not None:
                session.close()
            self.connections.release(key[0])

    def _own(self, key: Key) -> ChannelState | None:
        if self._broker is None or not self.is_own(key):
            return None
        return self._broker.channels.get(key[2])

    def _tell(self, key: Key, frame: Frame) -> None:
        """Tell an owner about this process's holds, over the connection that stands for it.

        Waits only to connect; an owner that reads nothing is told when it does.
        """
        address, pid, _ = key
        if self.is_own(key):
            return
        with contextlib.suppress(TransportError, NoAnswer):
            session = self._sessions.get(address)
            if session is None or session.sock.fileno() < 0:
                session = self._sessions[address] = Connection(address, pid, 0.0)
            session.tell_soon(frame)

    # Shared payloads, the dead.

    def is_own(self, key: Key) -> bool:
        """Whether this process made it."""
        return self._broker is not None and key[0] in tuple(self._broker.addresses.values())

    def own_shared(self, key: Key) -> tuple[Buffer, ...] | None:
        """Return a shared payload that this process made and keeps."""
        if self._broker is None or not self.is_own(key):
            return None
        with self._broker.lock:
            return self._broker.shared.get(key[2])

    def forget_shared(self, key: Key) -> None:
        """Let go of a shared payload that this process made."""
        if self._broker is not None and self.is_own(key):
            with self._broker.lock:
                self._broker.shared.pop(key[2], None)

    def reap(self, pid: int) -> None:
        """Read all that a dead process had written, and take back what it held."""
        if self._broker is not None:
            with self._broker.lock:
                self._broker.drain(pid)
        for child in [each for each in list(self._passes) if getattr(each, "pid", 0) == pid]:
            self._withdraw(self._passes.pop(child, []), pid)

    def exclude(self, node: int) -> None:
        """Have nothing to do any more with the processes of a node."""
        if self._broker is not None:
            self._broker.exclude(node)

    # Fork.

    def before_fork(self) -> tuple[int, int] | None:
        """Open the pipe by which the child holds what this process owns."""
        self.sweep()
        if self._broker is None or not self._broker.channels:
            return None
        return os.pipe()

    def after_fork_in_parent(self, pipe: tuple[int, int] | None) -> None:
        """Hand the child's holds to the broker."""
        self._lent.update(self._handles)
        if pipe is not None:
            os.close(pipe[1])
            assert self._broker is not None
            self._broker.lifeline(pipe[0])

    def after_fork_in_child(self, pipe: tuple[int, int] | None) -> None:
        """Close what is the parent's."""
        if pipe is not None:
            os.close(pipe[0])
            _kept_open.append(pipe[1])
        _kept_open.extend(self._sessions.values())
        self.connections.abandon()
        if self._broker is not None:
            self._broker.abandon()


_current = Registry()

# Descriptors inherited by fork that say to owners of channels that this process lives.
_kept_open: list[object] = []

_forking: dict[int, tuple[int, int] | None] = {}


def current() -> Registry:
    """Return this process's registry."""
    return _current


def _before_fork() -> None:
    _forking[threading.get_ident()] = None
    _forking[threading.get_ident()] = _current.before_fork()


def _after_fork_in_parent() -> None:
    _current.after_fork_in_parent(_forking.pop(threading.get_ident(), None))


def _after_fork_in_child() -> None:
    global _current
    parent, _current = _current, Registry()
    pipe = _forking.pop(threading.get_ident(), None)
    # Other threads are about to fork as well: what their children are to hold is not for this one,
    # which would hold it for as long as it lives.
    for other in _forking.values():
        for descriptor in other or ():
            os.close(descriptor)
    _forking.clear()
    parent.after_fork_in_child(pipe)


at_fork(
    Rank.PIPE,
    before=_before_fork,
    parent=_after_fork_in_parent,
    child=_after_fork_in_child,
)
