"""The owner's side: one daemon thread per process that serves the channels this process made.

The broker holds every channel of its process in plain Python. The owner's own threads work on that
state directly, under ``Broker.lock``; other processes speak to it over stream sockets, one for
each of their threads that ever called, so that a process which dies breaks only its own. No socket
of the broker blocks, and what a slow or stopped client does not read waits in its own buffer.

Locks: ``lock`` is the only one here. It is held for short, non-blocking steps, and no other lock is
taken under it, not even a ``logging`` handler's: what is to be logged is noted, and the thread logs it
without the lock. It is re-entrant: a signal handler, or ``__del__``, may call in the midst of such a step of
its own thread. What it then asks for is not done on a state that is half changed, but left in ``late``
for the thread, or for who comes next (see ``local``). A finalizer of ours must not take the lock: it calls
:meth:`Broker.wake`, and the thread does the rest.

Lifetime of a channel: it lives while somebody is in its ``holders``:

* ``LOCAL``: handles in the owner itself.
* a :class:`~tines.transport.pipe.peer.Peer`: a process with handles; gone with its connection.
* a :class:`~tines.transport.pipe.protocol.Pass`: a pickled handle that nobody has opened yet. One that was
  for a child goes with the child; another that is never opened keeps its channel for the owner's lifetime.
* a ``_Lifeline``: a child that the owner forked while it held the channel. A pipe whose other end
  only that child (and its own forks) has; it ends when they are all gone.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import selectors
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from multiprocessing import process as _process

from tines import _clock, _sockets
from tines.errors import QueueShutDown, TransportError
from tines.transport.contract import Buffer
from tines.transport.pipe import door
from tines.transport.pipe.peer import Peer
from tines.transport.pipe.state import ChannelState

__all__ = ["LOCAL", "Broker"]

LOCAL = "local"
"""The holder that stands for all handles of the owner itself."""

_log = logging.getLogger("tines.transport")

# Who has connected and not yet proved that it belongs to the program: so many at a time at most, in which
# all workers of a large pool find room, and for so long. Other users' processes are refused at once.
STRANGERS = 1024
HANDSHAKE_SECONDS = 30.0

# With no descriptor left a waiting connection cannot be accepted; look again after this long.
_ACCEPT_AGAIN = 0.5


class _Lifeline:
    """The holder that stands for one forked child; see the module's docstring."""

    def __init__(self, broker: Broker, descriptor: int, states: list[ChannelState]) -> None:
        self._broker = broker
        self.descriptor = descriptor
        self.states = states

    def fileno(self) -> int:
        return self.descriptor

    def ready(self, mask: int) -> None:
        """The child and all its forks are gone."""
        broker = self._broker
        # In this order: another thread may fork at any point, and its child closes what is listed.
        broker.lifelines.discard(self)
        broker.selector.unregister(self)
        os.close(self.descriptor)
        for state in self.states:
            broker.drop(state, self)


class _Timers:
    """Deadlines of parked waiters, at most about one entry for each peer."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], float | None]]] = []
        self._count = itertools.count()

    def add(self, when: float, expire: Callable[[float], float | None]) -> None:
        """Call ``expire(now)`` at ``when``; what it returns is when to call it again, if at all."""
        heapq.heappush(self._heap, (when, next(self._count), expire))

    def remaining(self) -> float | None:
        """Seconds to the next one."""
        return _clock.left(self._heap[0][0]) if self._heap else None

    def run(self) -> None:
        """Call what is due."""
        while self._heap and self._heap[0][0] <= (now := _clock.monotonic()):
            expire = heapq.heappop(self._heap)[2]
            again = expire(now)
            if again is not None:
                self.add(again, expire)


class Broker:
    """All channels and shared payloads that this process made; ``registry`` makes the broker."""

    def __init__(self, sweep: Callable[[], None]) -> None:
        """Open the listener and start the thread.

        Args:
            sweep: Called by the thread, without the lock, whenever it woke up: lets go of
                what finalizers have given up.

        Raises:
            TransportError: no socket or thread can be had.
        """
        self.lock = threading.RLock()
        self._timers = _Timers()
        self.channels: dict[int, ChannelState] = {}
        self.shared: dict[int, tuple[Buffer, ...]] = {}
        self.lifelines: set[_Lifeline] = set()
        self.peers: set[Peer] = set()
        self.excluded: set[int] = set()
        self.pid = os.getpid()
        self.key = bytes(_process.current_process().authkey)
        self._sweep = sweep
        self._numbers = itertools.count(1)
        self._changed: set[Peer] = set()
        self._arrived: list[_Lifeline] = []
        self._strangers: list[Peer] = []
        self._late: deque[Callable[[], object]] = deque()
        self._notes: deque[Callable[[], object]] = deque()
        try:
            _load_what_ends_threads()
            self.selector = selectors.DefaultSelector()
            listener, self.address = door.listen()
            self._listeners = {"": listener}
            self.addresses = {"": self.address}
            self._wake_in, self._wake_out = _sockets.pair()
            for sock in (listener, self._wake_in, self._wake_out):
                sock.setblocking(False)
            self._arrived_listeners = [listener]
            self.selector.register(self._wake_in, selectors.EVENT_READ, self._woken)
            self.thread = threading.Thread(target=self._run, name="tines-broker", daemon=True)
            self.thread.start()
        except (OSError, RuntimeError) as error:
            raise TransportError(f"this process cannot serve channels: {error}") from error

    # For the owner's threads.

    @property
    def interrupted(self) -> bool:
        """Whether this thread is in the midst of a step under the lock, and something came between."""
        # As ``threading.Condition`` asks it.
        return bool(self.lock._is_owned())  # type: ignore[attr-defined]

    def do_late(self, step: Callable[[], object]) -> None:
        """Have a step done under the lock as soon as what was interrupted is through."""
        self._late.append(step)
        self.wake()

    def catch_up(self) -> None:
        """Do what was left for later, in order. Under the lock."""
        while self._late:
            step = self._late.popleft()
            try:
                step()
            except (QueueShutDown, ValueError) as error:
                self._note("a call of a signal handler or finalizer came too late: %s", error)

    def wake(self) -> None:
        """Let the thread look again. Takes no lock: finalizers call it."""
        with contextlib.suppress(OSError):
            self._wake_out.send(b"\0")

    def open_channel(self, state: ChannelState) -> int:
        """Take a channel in, held by ``LOCAL``; return its number."""
        with self.lock:
            state.number = next(self._numbers)
            self.channels[state.number] = state
            state.holders.add(LOCAL)
            return state.number

    def open_to(self, host: str) -> door.Address:
        """Have processes on other machines reach this one by an address of it; return with the port.

        Raises:
            TransportError: there can be no listener.
        """
        with self.lock:
            if host not in self._listeners:
                try:
                    listener, self.addresses[host] = door.listen(host)
                except OSError as error:
                    raise TransportError(
                        f"other machines cannot reach this process at {host}: {error}"
                    ) from error
                listener.setblocking(False)
                self._listeners[host] = listener
                self._arrived_listeners.append(listener)
                self.wake()
            return self.addresses[host]

    def keep(self, parts: tuple[Buffer, ...]) -> int:
        """Keep a shared payload; return its number."""
        with self.lock:
            number = next(self._numbers)
            self.shared[number] = parts
            return number

    def hold(self, state: ChannelState, holder: object) -> None:
        """Add one holder. Under the lock."""
        state.holders.add(holder)

    def drop(self, state: ChannelState, holder: object) -> None:
        """Remove one holder; the channel goes with its last. Under the lock."""
        state.holders.discard(holder)
        if not state.holders:
            self.end(state)

    def end(self, state: ChannelState) -> None:
        """Let a channel go, whoever holds it. Under the lock."""
        if self.channels.pop(state.number, None) is not None:
            state.vanish()

    def drain(self, pid: int) -> None:
        """Read all that a process has written, up to its end if it is dead. Under the lock."""
        for peer in [each for each in self.peers if each.pid == pid]:
            while not peer.broken and peer.read():
                pass
            if peer.broken:
                peer.end()

    def at(self, when: float, expire: Callable[[float], float | None]) -> None:
        """Set a timer: see :class:`_Timers`. Under the lock."""
        self._timers.add(when, expire)
        if threading.get_ident() != self.thread.ident:
            self.wake()

    def changed(self, peer: Peer) -> None:
        """A peer has something left to write, or is broken; the thread acts. Under the lock."""
        self._changed.add(peer)
        if threading.get_ident() != self.thread.ident:
            self.wake()

    def exclude(self, node: int) -> None:
        """Have nothing to do any more with the processes of a node: what they had not taken goes back."""
        self.excluded.add(node)
        self.do_late(partial(self._let_go_of, node))  # the hub waits for nobody who has the lock

    def _let_go_of(self, node: int) -> None:
        for peer in [each for each in self.peers if each.node == node]:
            peer.fail()
            peer.end()

    # Fork.

    def lifeline(self, descriptor: int) -> None:
        """Let a forked child, at the other end of ``descriptor``, hold what ``LOCAL`` holds."""
        with self.lock:
            states = [state for state in self.channels.values() if LOCAL in state.holders]
            line = _Lifeline(self, descriptor, states)
            for state in line.states:
                state.holders.add(line)
            self.lifelines.add(line)
            self._arrived.append(line)
        self.wake()

    def abandon(self) -> None:
        """In a forked child: close its copies of what must end with the parent."""
        for sock in (*self._listeners.values(), self._wake_in, self._wake_out):
            sock.close()
        for peer in list(self.peers):
            peer.sock.close()
        for line in list(self.lifelines):
            os.close(line.descriptor)
        for state in list(self.channels.values()):
            state.page.close()
        self.selector.close()

    # The thread.

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException:
            # Nobody may hang because of a fault in here: end every wait, in all processes.
            _log.critical("the thread that serves channels has failed", exc_info=True)
            self.abandon()
            with self.lock:
                for state in list(self.channels.values()):
                    state.vanish()
                self.channels.clear()
            raise

    def _note(self, text: str, *args: object, error: BaseException | None = None) -> None:
        """Have the thread log a warning, once the lock is free. Under the lock."""
        self._notes.append(partial(_log.warning, text, *args, exc_info=error))
        self.wake()

    def _serve(self) -> None:
        while True:
            while self._notes:
                self._notes.popleft()()
            self._sweep()
            with self.lock:
                self.catch_up()
                self._apply_changes()
                timeout = self._timers.remaining()
            self._handle(self.selector.select(timeout))

    def _handle(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        # Not in the loop of ``_serve``, whose frame would keep what has ended alive through the next wait.
        with self.lock:
            for key, mask in events:
                try:
                    key.data(mask)
                except Exception as error:
                    self._note("a channel's connection failed and was dropped", error=error)
                    if isinstance(key.fileobj, socket.socket):
                        self._drop_socket(key.fileobj)
            self._timers.run()

    def _drop_socket(self, sock: socket.socket) -> None:
        for peer in list(self.peers):
            if peer.sock is sock:
                peer.fail()

    def _apply_changes(self) -> None:
        while self._arrived_listeners:
            self._accept_from(self._arrived_listeners.pop())
        while self._arrived:
            line = self._arrived.pop()
            self.selector.register(line, selectors.EVENT_READ, line.ready)
        while self._changed:
            peer = self._changed.pop()
            if peer.broken:
                peer.end()
                if peer in self.peers:
                    self.peers.discard(peer)
                    self.selector.unregister(peer.sock)
                    peer.sock.close()
            elif peer in self.peers:
                mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.output else 0)
                self.selector.modify(peer.sock, mask, peer.ready)

    def _accept_from(self, listener: socket.socket, now: float = 0.0) -> None:
        self.selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))

    def _accept(self, listener: socket.socket, mask: int) -> None:
        try:
            sock = door.accept(listener)
        except BlockingIOError:
            return
        except OSError as error:
            self._note("cannot accept a process that wants to use a channel: %s", error)
            self.selector.unregister(listener)
            self._timers.add(
                _clock.monotonic() + _ACCEPT_AGAIN, partial(self._accept_from, listener)
            )
            return
        if not door.may_speak(sock):
            self._note("a process of another user wanted to use a channel, and was refused")
            sock.close()
            return
        peer = Peer(self, sock)
        self.peers.add(peer)
        self.selector.register(sock, selectors.EVENT_READ, peer.ready)
        self._strangers.append(peer)
        self._admit_strangers()
        peer.greet()
        self._timers.add(_clock.monotonic() + HANDSHAKE_SECONDS, peer.give_up_on)

    def _admit_strangers(self) -> None:
        """Where too many have not proved themselves, those go that have had the longest time for it."""
        strangers = [peer for peer in self._strangers if peer.is_stranger]
        most = min(STRANGERS, _descriptors() // 2)
        for peer in strangers[:-most]:
            peer.fail()
        self._strangers = strangers[-most:]

    def _woken(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_in.recv(4096):
                pass


def _descriptors() -> int:
    """Return how many descriptors this process may have."""
    if sys.platform == "win32":
        return 2 * STRANGERS
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2 * STRANGERS if limit == resource.RLIM_INFINITY else int(limit)


def _load_what_ends_threads() -> None:
    """Have libgcc loaded before it is needed.

    The interpreter ends with daemon threads still there, which end by ``pthread_exit`` (up to
    Python 3.13). glibc loads libgcc for that, and aborts the program if no descriptor is left to
    do so. Where there is no libgcc, it is not needed; without a descriptor now, there is no broker.
    """
    if sys.platform == "linux" and sys.version_info < (3, 14):
        with contextlib.suppress(OSError, ImportError):
            import ctypes

            ctypes.CDLL("libgcc_s.so.1")
