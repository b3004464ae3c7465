"""Proxies: the standard library's, of which each call gets its own reply.

A thread has one connection to a server, for all of its proxies; a call writes a request and reads a reply.
What comes between the two (an exception of a signal handler: Ctrl-C, a time limit) leaves the reply
in the connection, where the standard library's next call takes it for its own, and so on for good. And a
handler that makes a call itself, in the midst of another, takes that one's reply.

Here a connection knows how far its call has come (:class:`_Line`), and a call leaves none behind that is
out of step:

* interrupted, it closes the connection. The next call makes a new one, and does not wait for what
  the server may still be doing.
* unless the thread holds an ``RLock`` or the like in the server. It holds it there by this connection: the
  server has a thread for each, and the lock is that thread's. So the connection is kept, and the next
  call first waits for the reply that is owed and throws it away.
* made in the midst of another, it gets a connection of its own.
* a lock that the server grants to a call that was interrupted by then is given back at once.

The classes are derived from the standard library's, under the same names, so that programs may go on
deriving from them, and asking for ``isinstance``.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from enum import Enum
from multiprocessing import connection as _connection
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from tines._std import standard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection
    from multiprocessing.managers import BaseProxy as _BaseProxy
else:
    _BaseProxy = standard("managers").BaseProxy

_std: Any = standard("managers")
_wrapper: type = _connection.ConnectionWrapper  # type: ignore[attr-defined]

__all__ = ["AutoProxy", "BaseProxy", "MakeProxyType", "ours"]


_SHORT = 16384
"""Bytes of a request that are written in one piece, with their number before them."""

_FOR_ANYBODY = frozenset({"Lock", "Semaphore", "BoundedSemaphore"})
"""Types of locks that are not given back by who has got them only."""

_HEADER = struct.Struct("!i")


class _Step(Enum):
    """How far the call on a connection has come."""

    NONE = "there is none"
    WRITING = "some of the request may have been written"
    WAITING = "all of it has, and nothing of the reply been read"
    READING = "some of the reply may have been read"


class _Line:
    """A thread's connection to a server, in the place where proxies look for it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.step = _Step.NONE
        self.in_use = False
        """Whether a call of ours is under way, and perhaps interrupted by one of a signal handler."""
        self._locks = 0
        """How many locks that only it can give back the thread has got by it."""
        self.for_anybody = False
        """Whether the call is one of a lock that any other connection can give back as well."""
        # One for XML-RPC makes bytes of objects in its own way.
        self._pickles = not isinstance(connection, _wrapper)
        self._object: object = None
        self._method = ""
        self._size = 0
        self._written: list[int] = []

    def send(self, request: tuple[object, str, object, object]) -> None:
        """Write a request. One that cannot be pickled leaves everything as it was."""
        data = ForkingPickler.dumps(request) if self._pickles else None
        self._object, self._method = request[:2]
        self._size = -1
        self.step = _Step.WRITING
        if data is None:
            self._connection.send(request)
        elif len(data) > _SHORT or sys.platform == "win32":
            self._connection.send_bytes(data)
        else:
            self._write(_HEADER.pack(len(data)) + data)
        self.step = _Step.WAITING

    def _write(self, frame: bytes) -> None:
        """Write a short request, as ``send_bytes`` does it.

        But how much was written is noted before any signal handler can run: as both are done by one call
        into C. Else nobody would know whether a reply is owed.
        """
        descriptor = self._connection.fileno()
        self._written.clear()
        self._size = len(frame)
        while (done := sum(self._written)) < len(frame):
            self._written.extend(map(os.write, (descriptor,), (frame[done:],)))

    def recv(self) -> Any:
        """Read a reply. One that cannot be unpickled has been read all the same."""
        if self._pickles and (self._locks or self._method == "acquire"):
            self._connection.poll(None)  # for here an interruption finds nothing half read
        self.step = _Step.READING
        if not self._pickles:
            reply = self._connection.recv()
            self.step = _Step.NONE
        else:
            data = self._connection.recv_bytes()
            self.step = _Step.NONE
            reply = ForkingPickler.loads(data)
        if not self.for_anybody:
            if self._is_granted(reply):
                self._locks += 1
            elif self._method == "release" and self._locks:
                self._locks -= 1
        return reply

    def _is_granted(self, reply: tuple[str, object]) -> bool:
        return self._method == "acquire" and reply[0] == "#RETURN" and bool(reply[1])

    def close(self) -> None:
        """Close it; the server's thread for it ends when it sees that."""
        self._connection.close()

    @property
    def can_settle(self) -> bool:
        """Whether it may come into step again, and is worth it."""
        return self._locks > 0 and self._is_owed_a_whole_reply

    @property
    def _is_owed_a_whole_reply(self) -> bool:
        if self.step is _Step.WRITING:
            return self._size == sum(self._written)
        return self._pickles and self.step is _Step.WAITING

    def settle(self) -> None:
        """Wait for the reply that is owed to a call which was interrupted, and undo what it says.

        Raises:
            OSError, EOFError: the server is gone.
        """
        try:
            reply = self.recv()
        except (OSError, EOFError):
            raise
        except Exception:
            return  # it does not unpickle, and nobody wants it
        if self._is_granted(reply):
            self.send((self._object, "release", (), {}))
            self.recv()

    def abandon(self) -> None:
        """Close it as soon as nothing is under way that would have to be undone."""
        if self._method == "acquire" and self._is_owed_a_whole_reply:
            name = "tines-manager-release"
            threading.Thread(target=self._settle_and_close, name=name, daemon=True).start()
        else:
            self.close()

    def _settle_and_close(self) -> None:
        try:
            self.settle()
        except (OSError, EOFError):
            pass  # the server is gone, and its locks with it
        finally:
            self.close()


class BaseProxy(_BaseProxy):
    """A proxy for an object of a server; see ``multiprocessing.managers``."""

    if TYPE_CHECKING:
        _tls: object
    else:

        def _connect(self):
            super()._connect()
            self._tls.connection = _Line(self._tls.connection)

        def _callmethod(self, methodname, args=(), kwds={}):  # noqa: B006 - as it is there
            line = getattr(self._tls, "connection", None)
            if line is None or not isinstance(line, _Line):
                return self._call(methodname, args, kwds)
            if not line.in_use:
                if line.step is not _Step.NONE:
                    self._settle(line)
                return self._call(methodname, args, kwds)
            del self._tls.connection
            try:
                return self._call(methodname, args, kwds)
            finally:
                self._drop()
                self._tls.connection = line

        def _call(self, methodname, args, kwds):
            """Make a call on the thread's connection, which no other call uses."""
            if not isinstance(getattr(self._tls, "connection", None), _Line):
                self._drop()
                self._connect()
            line = self._tls.connection
            line.for_anybody = self._token.typeid in _FOR_ANYBODY
            line.in_use = True
            try:
                return super()._callmethod(methodname, args, kwds)
            finally:
                line.in_use = False
                if line.step is not _Step.NONE and not line.can_settle:
                    self._drop()

        def _settle(self, line):
            try:
                line.settle()
            finally:
                if line.step is not _Step.NONE and not line.can_settle:
                    self._drop()

        def _drop(self):
            """Let go of the thread's connection, if there is one."""
            line = self._tls.__dict__.pop("connection", None)
            if isinstance(line, _Line):
                line.abandon()
            elif line is not None:
                line.close()

        def __reduce__(self):
            rebuild, (make, *rest) = super().__reduce__()
            return rebuild, (AutoProxy if make is _std.AutoProxy else make, *rest)


_ours: dict[type[_BaseProxy], type[_BaseProxy]] = {_BaseProxy: BaseProxy}


def ours(proxy: type[_BaseProxy]) -> type[_BaseProxy]:
    """Return our class for a class of proxies: that itself, if it is derived from ours."""
    if issubclass(proxy, BaseProxy):
        return proxy
    found = _ours.get(proxy)
    if found is None:
        bases = [ours(base) for base in proxy.__bases__ if issubclass(base, _BaseProxy)]
        made = type(proxy.__name__, (*bases, proxy), {"__module__": "tines.managers"})
        found = _ours.setdefault(proxy, made)
    return found


def MakeProxyType(name: str, exposed: Iterable[str]) -> type[_BaseProxy]:  # noqa: N802
    """Return a class of proxies with these methods."""
    make: Callable[..., type[_BaseProxy]] = _std.MakeProxyType
    return ours(make(name, tuple(exposed)))


def AutoProxy(token: object, serializer: str, *args: object, **kwargs: object) -> BaseProxy:  # noqa: N802
    """Return a proxy with all public methods of what ``token`` stands for."""
    make: Callable[..., Any] = _std.AutoProxy
    proxy = make(token, serializer, *args, **kwargs)
    proxy.__class__ = ours(type(proxy))
    return proxy  # type: ignore[no-any-return]
