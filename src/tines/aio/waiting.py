"""Waiting for descriptors where the loop cannot: the proactor loop of Windows.

One thread for each loop, made when it is first needed, waits for everything that is watched there. It
reports a descriptor once and leaves it out until the loop has come to it, so it does not spin.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from multiprocessing import connection
from typing import Any
from weakref import ReferenceType as Reference

from tines._ready import ready_among

__all__ = ["WaiterThread"]


class WaiterThread:
    """See the module.

    Args:
        post: Calls something in the loop. A weak reference, as are those to what is to be called: the
            thread does not keep the loop's things alive, and is stopped when they go.
    """

    def __init__(self, post: Reference[Callable[[Callable[[], object]], None]]) -> None:
        self._post = post
        self._watched: dict[int, Reference[Callable[[], object]]] = {}
        self._reported: set[int] = set()
        self._lock = threading.Lock()
        self._reader, self._writer = connection.Pipe(duplex=False)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="tines aio", daemon=True)
        self._thread.start()

    def watch(self, descriptor: int, ready: Callable[[], object]) -> None:
        """Have ``ready`` called in the loop whenever the descriptor is readable."""
        with self._lock:
            self._watched[descriptor] = weakref.WeakMethod(ready)
            self._reported.discard(descriptor)
        self._writer.send_bytes(b"w")

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor; its owner may close it when this returns."""
        with self._lock:
            self._watched.pop(descriptor, None)
        self._writer.send_bytes(b"u")

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._writer.send_bytes(b"s")

    def _run(self) -> None:
        while not self._stopped:
            with self._lock:
                wanted: list[Any] = [d for d in self._watched if d not in self._reported]
            try:
                ready = ready_among([self._reader, *wanted], None)
            except OSError:  # one was closed while it was waited for: its owner has unwatched it
                continue
            for each in ready:
                if each is self._reader:
                    self._reader.recv_bytes()
                else:
                    self._report(each)
        self._reader.close()
        self._writer.close()

    def _report(self, descriptor: int) -> None:
        with self._lock:
            self._reported.add(descriptor)
        post = self._post()
        if post is not None:
            post(lambda: self._tell(descriptor))

    def _tell(self, descriptor: int) -> None:
        """In the loop: pass it on, and watch it again if somebody still waits."""
        reference = self._watched.get(descriptor)
        ready = reference() if reference is not None else None
        if ready is not None:
            ready()
        with self._lock:
            self._reported.discard(descriptor)
            again = descriptor in self._watched
        if again:
            self._writer.send_bytes(b"a")
