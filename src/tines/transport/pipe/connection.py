"""A connection to the process that owns a channel, and the connections of this process.

A connection belongs to one thread and carries one request at a time. Whatever interrupts a request
(a signal's exception, a timeout, the owner's death) closes the connection: it can never be out of
step, and the owner puts back what it had handed out on it without an ACK. The next request opens
a new one.
"""

from __future__ import annotations

import contextlib
import hmac
import math
import os
import secrets
import threading
import weakref
from multiprocessing import process as _process
from typing import TYPE_CHECKING

from tines import _clock
from tines._sockets import FLAGS, Output
from tines.errors import TransportError
from tines.transport.contract import Buffer
from tines.transport.pipe import door
from tines.transport.pipe.protocol import Decoder, Frame, Op, proof

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tines.transport.pipe.door import Address

__all__ = ["NODE", "PATIENCE", "Connection", "Connections", "NoAnswer"]

PATIENCE = 5.0
"""Seconds beyond its timeout for which a call waits for an owner that does not answer at all."""

NODE = "TINES_NODE"
"""The variable that a process on a node has: a number by which owners of channels know the node."""

_ACK = Frame(Op.ACK).encoded()[0]


class NoAnswer(Exception):
    """The owner did not answer within the timeout and :data:`PATIENCE`.

    Attributes:
        written: Whether the owner has the whole request and may still act on it.
    """

    def __init__(self, written: bool) -> None:
        self.written = written


def gone(pid: int) -> TransportError:
    """Return the error for an owner that is no more."""
    return TransportError(
        f"the process that owns this channel (pid {pid}) has ended, and the channel with it: "
        "keep the process that made a queue or pool alive for as long as others use it"
    )


@contextlib.contextmanager
def _explained(pid: int) -> Iterator[None]:
    """Have what goes wrong with connecting raise what the callers expect."""
    try:
        yield
    except TimeoutError:
        raise NoAnswer(written=False) from None
    except EOFError:
        raise TransportError(
            f"the process that owns this channel (pid {pid}) refused the connection: it is "
            "ending, or this process has another multiprocessing authkey"
        ) from None
    except (ConnectionError, FileNotFoundError) as error:
        raise gone(pid) from error
    except OSError as error:
        raise TransportError(f"cannot reach the owner of this channel: {error}") from error


class Connection:
    """A stream to the process that owns a channel. Not for use by two threads at once."""

    def __init__(self, address: Address, pid: int, timeout: float = math.inf) -> None:
        """Connect, and prove to each other that both belong to the program.

        Raises:
            TransportError: nobody is there, or the keys differ.
            NoAnswer: not in time.
        """
        self.address = address
        self.busy = True
        self._pid = pid
        self._decoder = Decoder()
        self._decoder.trusted = True
        self._output = Output()
        self._timeout: float | None = None
        deadline = _deadline(timeout)
        with _explained(pid):
            self.sock = door.connect(address, pid, deadline)
            try:
                self._limit(deadline)
                self._prove(deadline)
            except BaseException:
                self.close()
                raise

    def _prove(self, deadline: float) -> None:
        key = bytes(_process.current_process().authkey)
        theirs = bytes(self._reply(deadline).parts[0])
        ours = secrets.token_bytes(32)
        parts = [ours, proof(key, "client", theirs, ours)]
        node = int(os.environ.get(NODE) or 0)
        self._write(Frame(Op.PROOF, number=os.getpid(), tag=node, parts=parts), deadline)
        welcome = self._reply(deadline)
        if not hmac.compare_digest(welcome.parts[0], proof(key, "owner", theirs, ours)):
            raise TransportError("what answers at this channel's address is not its owner")

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:
            pass  # the interpreter is ending and has taken names away, or __init__ did not run

    def close(self) -> None:
        """Close; the owner sees it as the end of whatever was under way."""
        self.sock.close()

    def request(self, frame: Frame, timeout: float = math.inf) -> Frame:
        """Write a request and return its reply; a message is acknowledged by then.

        Raises:
            TransportError: the owner is gone.
            MemoryError: there was no room for the message on one of the two sides.
            NoAnswer: not within ``timeout`` and then some.
        """
        written = False
        try:
            deadline = _deadline(timeout)
            self._write(frame, deadline)
            written = True
            reply = self._reply(deadline)
            if reply.op == Op.NO_MEMORY:
                raise MemoryError("there is not enough memory for a message of this size")
            if reply.op in (Op.MESSAGE, Op.MESSAGES):
                self._acknowledge()
            self.busy = False
            return reply
        except TimeoutError:
            self.close()
            raise NoAnswer(written) from None
        except (OSError, EOFError) as error:
            self.close()
            raise gone(self._pid) from error
        except BaseException:
            self.close()
            raise

    def tell(self, frame: Frame) -> None:
        """Write a frame that has no reply.

        Raises:
            TransportError: the owner is gone.
        """
        for chunk in frame.encoded():
            self.tell_encoded(chunk)

    def tell_encoded(self, frame: Buffer) -> None:
        """As :meth:`tell`, of a frame that is encoded."""
        try:
            self._limit_to(None)
            self.sock.sendall(frame, FLAGS)
            self.busy = False
        except OSError as error:
            self.close()
            raise gone(self._pid) from error
        except BaseException:
            self.close()
            raise

    def tell_soon(self, frame: Frame) -> None:
        """Write a frame that has no reply, or as much of it as can be without waiting.

        The rest goes with the next. The connection is used for nothing but such frames.
        """
        self.sock.settimeout(0)
        self._output.add(frame.encoded())
        try:
            self._output.write(self.sock)
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _write(self, frame: Frame, deadline: float) -> None:
        self._output.add(frame.encoded())
        self._limit(deadline)
        while True:
            try:
                return self._output.write(self.sock)
            except TimeoutError:  # perhaps of the longest wait in one go only
                if _clock.passed(deadline):
                    raise
                self._limit(deadline)

    def _acknowledge(self) -> None:
        # If the owner is gone by now, nobody else can get the message any more: it is ours.
        with contextlib.suppress(ConnectionError):
            self._output.add([_ACK])
            self._output.write(self.sock)

    def _reply(self, deadline: float) -> Frame:
        while True:
            try:
                frames = self._decoder.pull(self.sock)
            except TimeoutError:
                if _clock.passed(deadline):
                    raise
                self._limit(deadline)
                continue
            if frames:
                return frames[0]
            if deadline < math.inf:
                self._limit(deadline)

    def _limit(self, deadline: float) -> None:
        """Let the next call on the socket wait until ``deadline``."""
        seconds = _clock.stretch(None if deadline == math.inf else deadline)
        self._limit_to(None if seconds is None else max(0.001, seconds))

    def _limit_to(self, timeout: float | None) -> None:
        if timeout is not None or self._timeout is not None:
            self.sock.settimeout(timeout)
            self._timeout = timeout


def _deadline(timeout: float) -> float:
    return math.inf if timeout == math.inf else _clock.monotonic() + timeout + PATIENCE


class Connections:
    """The connections of this process: one for each thread and owner, and those of watches."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        # Between a thread that claims its connection and one that closes what is idle. Re-entrant
        # for signal handlers; held for no more than a look.
        self._lock = threading.RLock()

    def get(self, address: Address, pid: int, timeout: float = math.inf) -> Connection:
        """Return this thread's connection to an owner, made when needed, for one call.

        A call from within a call (a signal handler's) gets a new one, which replaces the other when
        that is done with.

        Raises:
            TransportError, NoAnswer: as :class:`Connection`.
        """
        try:
            cached: dict[Address, Connection] = self._mine.cached
        except AttributeError:
            cached = self._mine.cached = {}
        with self._lock:
            connection = cached.get(address)
            if connection is not None and connection.sock.fileno() >= 0 and not connection.busy:
                connection.busy = True
                return connection
        connection = cached[address] = self.fresh(address, pid, timeout)
        return connection

    def fresh(self, address: Address, pid: int, timeout: float = math.inf) -> Connection:
        """Return a new connection, claimed."""
        connection = Connection(address, pid, timeout)
        self._all.add(connection)
        return connection

    def release(self, address: Address) -> None:
        """Close the connections to an owner of which no handle is left, unless they are in use."""
        with self._lock:
            for connection in list(self._all):
                if connection.address == address and not connection.busy:
                    connection.close()

    def abandon(self) -> None:
        """In a forked child: close its copies of what must end with the parent."""
        for connection in list(self._all):
            connection.close()
