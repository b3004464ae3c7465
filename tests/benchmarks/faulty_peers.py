"""Adapters over the standard library with one planted fault each: the rig must notice it."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import Peer, Pool, Queue, StandardPool

CONTEXT = multiprocessing.get_context("fork")
FAULT_AT = 4321
"""The small message that goes wrong."""


def _is_number(item: Any) -> bool:
    return isinstance(item, tuple)


class _Sound(Queue):
    """No fault: the control."""

    def __init__(self) -> None:
        self.inner = CONTEXT.Queue()

    def put(self, item: Any) -> None:
        self.inner.put(item)

    def get(self) -> Any:
        return self.inner.get()


class _Lossy(_Sound):
    def put(self, item: Any) -> None:
        if not (_is_number(item) and item[0] == FAULT_AT):
            super().put(item)


class _Doubling(_Sound):
    def put(self, item: Any) -> None:
        super().put(item)
        if _is_number(item) and item[0] == FAULT_AT:
            super().put(item)


class _Swapping(_Sound):
    """Count and shape are right; one number is another's."""

    def put(self, item: Any) -> None:
        if _is_number(item) and item[0] == FAULT_AT:
            item = (FAULT_AT + 1, item[1])
        super().put(item)


class _Torn(_Sound):
    """One byte in the middle of the first large message is wrong."""

    def get(self) -> Any:
        item = super().get()
        if isinstance(item, bytes):
            middle = len(item) // 2 + 3
            item = item[:middle] + bytes([item[middle] ^ 1]) + item[middle + 1 :]
        return item


class _Aliasing(_Sound):
    """The receiver's writes reach the sender: what a queue without isolation does."""

    def put(self, item: Any) -> None:
        super().put(item)
        if hasattr(item, "dtype"):
            item[0] += 1.0


class _Slow(_Sound):
    def put(self, item: Any) -> None:
        super().put(item)
        if _is_number(item) and item[0] % 10 == 0:
            deadline = time.perf_counter() + 0.003
            while time.perf_counter() < deadline:
                pass


class _Hanging(_Sound):
    def get(self) -> Any:
        item = super().get()
        if _is_number(item) and item[0] == FAULT_AT:
            threading.Event().wait()
        return item


class _Dying(_Sound):
    def get(self) -> Any:
        item = super().get()
        if _is_number(item) and item[0] == FAULT_AT:
            os._exit(9)
        return item


class _Leaking(_Sound):
    """Keeps all that was received."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def get(self) -> Any:
        self.kept.append(super().get())
        return self.kept[-1]


class _QueuePeer(Peer):
    module = "multiprocessing"
    offers = frozenset({Feature.QUEUE, Feature.SHARED_QUEUE, Feature.BATCHES})

    def __init__(self, name: str, kind: type[_Sound]) -> None:
        self.name = self.title = name
        self.kind = kind

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        return self.kind()


class _ForgetfulPool(StandardPool):
    def map(self, function: Any, items: Any, chunksize: int | None) -> list[Any]:
        return super().map(function, items, chunksize)[:-1]


class _ParentDies(StandardPool):
    def apply(self, function: Any, item: Any) -> Any:
        os.abort()


class _PoolPeer(Peer):
    module = "multiprocessing"
    offers = frozenset({Feature.POOL})

    def __init__(self, name: str, kind: type[StandardPool]) -> None:
        self.name = self.title = name
        self.kind = kind

    def pool(self, workers: int) -> Pool:
        return self.kind(CONTEXT.Pool(workers))


class _Orphaning(_PoolPeer):
    """Leaves a process behind that has cut all ties to the case."""

    def pool(self, workers: int) -> Pool:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
        return super().pool(workers)


class _NeverExits(_PoolPeer):
    """Does its work, and then keeps the interpreter from ending."""

    def pool(self, workers: int) -> Pool:
        threading.Thread(target=threading.Event().wait).start()
        return super().pool(workers)


class _Missing(Peer):
    name = title = "missing"
    module = "a_library_that_nobody_wrote"
    offers = frozenset(Feature)


PEERS = (
    _QueuePeer("sound", _Sound),
    _QueuePeer("lossy", _Lossy),
    _QueuePeer("doubling", _Doubling),
    _QueuePeer("swapping", _Swapping),
    _QueuePeer("torn", _Torn),
    _QueuePeer("aliasing", _Aliasing),
    _QueuePeer("slow", _Slow),
    _QueuePeer("hanging", _Hanging),
    _QueuePeer("dying", _Dying),
    _QueuePeer("leaking", _Leaking),
    _PoolPeer("forgetful", _ForgetfulPool),
    _PoolPeer("parent_dies", _ParentDies),
    _Orphaning("orphaning", StandardPool),
    _NeverExits("never_exits", StandardPool),
    _Missing(),
)
