"""The streams to all nodes, and what one thread does with them: wait, read, write, none of which blocks."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Iterator
from typing import NamedTuple

from tines.engines.remote.frames import BATCH, Frame, Receiver, pack
from tines.engines.remote.node import Node

__all__ = ["Stream", "Streams"]


class Stream(NamedTuple):
    """What leads to a node.

    Attributes:
        sock: The stream.
        receiver: What has come from it in part.
        line: The connection on which nothing is sent: see :mod:`tines.engines.remote.silence`.
    """

    sock: socket.socket
    receiver: Receiver
    line: socket.socket

    def close(self) -> None:
        """Close both."""
        self.sock.close()
        self.line.close()


class Streams:
    """See the module. One thread uses it, but for :meth:`wake`."""

    def __init__(self) -> None:
        self._streams: dict[Node, Stream] = {}
        self._writing: set[Node] = set()
        self._reader = self._writer = -1
        self._selector: selectors.BaseSelector

    def open(self) -> None:
        """Take the descriptors that it needs; until then it has none."""
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reader, selectors.EVENT_READ, None)

    def add(self, node: Node, stream: Stream) -> None:
        """Deal with a stream from now on."""
        stream.sock.setblocking(False)
        self._streams[node] = stream
        self._selector.register(stream.sock, selectors.EVENT_READ, node)

    def drop(self, node: Node) -> None:
        """Close a stream."""
        stream = self._streams.pop(node)
        self._selector.unregister(stream.sock)
        self._writing.discard(node)
        stream.close()

    def close(self) -> None:
        """Close everything. Also in a forked child, where nothing of it is in use."""
        for stream in self._streams.values():
            stream.close()
        self._streams = {}
        reader, self._reader = self._reader, -1
        if reader >= 0:
            writer, self._writer = self._writer, -1
            os.close(writer)
            self._selector.close()
            os.close(reader)

    def wake(self) -> None:
        """Have :meth:`wait` return. Any thread."""
        with contextlib.suppress(OSError):  # full, so it will return; or closed
            os.write(self._writer, b"w")

    def wait(self, timeout: float | None) -> list[Node]:
        """Wait until there is something to do; return the nodes that have sent something."""
        nodes = []
        for key, events in self._selector.select(timeout):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._reader, 4096)
            elif events & selectors.EVENT_READ:
                nodes.append(key.data)
        return nodes

    def read(self, node: Node) -> Iterator[Frame]:
        """Yield the frames that have arrived; what is said of one may have the node dropped.

        Raises:
            EOFError, OSError: the stream has ended, or is broken.
        """
        receiver = self._streams[node].receiver
        try:
            while node.alive:
                yield from receiver.receive()
        except BlockingIOError:
            pass

    def write(self, node: Node) -> None:
        """Write what there is for a node, as far as it takes it.

        Messages are put into a frame only when their turn has come: what is in ``node.batch`` has not left.

        Raises:
            OSError: the stream is broken.
        """
        outgoing, batch = node.outgoing, node.batch
        if not outgoing and not batch:
            return
        sock = self._streams[node].sock
        try:
            while outgoing or batch:
                if not outgoing:
                    outgoing.add(pack(batch[:BATCH]))
                    del batch[:BATCH]
                outgoing.write(sock)
        except BlockingIOError:
            pass
        self._watch(node, sock, bool(outgoing or batch))

    def _watch(self, node: Node, sock: socket.socket, writing: bool) -> None:
        if writing != (node in self._writing):
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            self._selector.modify(sock, events, node)
            (self._writing.add if writing else self._writing.discard)(node)
