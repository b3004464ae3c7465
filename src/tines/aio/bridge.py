"""The way into an event loop for what happens in other threads, and for descriptors.

There is one bridge for each loop. ``post`` may be called from any thread, and by the garbage collector:
it appends to a deque and wakes the loop unless it has been woken and has not come to it yet. So a
batch of results costs one wake-up, which is most of what handing over a result costs.

When a loop has been closed, or is gone, what is posted to it is dropped: nobody is left to get it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tines.aio.waiting import WaiterThread

__all__ = ["Bridge", "Readable", "current", "wake"]

T = TypeVar("T")

_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Bridge] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def current() -> Bridge:
    """Return the bridge of the running loop.

    Raises:
        RuntimeError: no loop is running in this thread.
    """
    loop = asyncio.get_running_loop()
    bridge = _bridges.get(loop)
    if bridge is None:
        with _lock:
            bridge = _bridges.setdefault(loop, Bridge(loop))
    return bridge


def wake(future: asyncio.Future[None]) -> None:
    """Resolve a future, unless whoever waited has been cancelled. In the future's loop."""
    if not future.done():
        future.set_result(None)


class Bridge:
    """See the module. Refers to its loop weakly, as the loop is what it is found by."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._posted: deque[Callable[[], object]] = deque()
        self._woken = False
        self._readables: dict[int, Readable] = {}
        # Of all lines: one who was woken in vain may find that the line has been made anew.
        self.places = itertools.count()
        self._waiter: WaiterThread | None = None

    @property
    def open(self) -> bool:
        """Whether what is posted will be run, as far as one can tell."""
        loop = self._loop()
        return loop is not None and not loop.is_closed()

    def post(self, function: Callable[[], object]) -> None:
        """Have the loop call something soon. Any thread; takes no lock."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            self._posted.clear()
            return
        self._posted.append(function)
        if not self._woken:
            self._woken = True
            try:
                loop.call_soon_threadsafe(self._run)
            except RuntimeError:  # it was closed just now
                self._posted.clear()

    def _run(self) -> None:
        # First the flag: what is posted after the last look at the deque must wake the loop again.
        self._woken = False
        posted = self._posted
        while posted:
            function = posted.popleft()
            try:
                function()
            except Exception as error:
                loop = asyncio.get_running_loop()
                loop.call_exception_handler(
                    {"message": "something posted to the loop raised", "exception": error}
                )

    # Descriptors; in the loop's thread.

    def readable(self, descriptor: int) -> Readable:
        """Return what waits for a descriptor: one for all who wait for the same."""
        readable = self._readables.get(descriptor)
        if readable is None:
            readable = self._readables[descriptor] = Readable(self, descriptor)
        return readable

    def release(self, descriptor: int) -> None:
        """Wake all who wait for a descriptor, which is about to be closed."""
        readable = self._readables.get(descriptor)
        if readable is not None:
            readable.release()

    def watch(self, readable: Readable) -> None:
        """Have ``readable.ready`` called whenever its descriptor is readable, until ``unwatch``."""
        try:
            asyncio.get_running_loop().add_reader(readable.descriptor, readable.ready)
        except NotImplementedError:  # the proactor loop of Windows
            self._own_waiter().watch(readable.descriptor, readable.ready)

    def unwatch(self, readable: Readable) -> None:
        """Undo :meth:`watch`."""
        self._readables.pop(readable.descriptor, None)
        if self._waiter is not None:
            self._waiter.unwatch(readable.descriptor)
            return
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(readable.descriptor)

    def _own_waiter(self) -> WaiterThread:
        if self._waiter is None:
            from tines.aio.waiting import WaiterThread

            self._waiter = WaiterThread(weakref.WeakMethod(self.post))
            weakref.finalize(self, self._waiter.stop).atexit = False
        return self._waiter


class Readable:
    """Those in one loop who wait for one descriptor. It is watched while there are any.

    Whoever is woken looks for what it wants and may find it gone; it then waits again, with its old
    place in the line. Nothing is taken on anybody's behalf, so nothing can be lost with a task that
    is cancelled after it was woken: the descriptor stays readable, and the next in line is woken.
    Only one at a time is called, so that nobody finds what an earlier one has just missed.
    """

    def __init__(self, bridge: Bridge, descriptor: int) -> None:
        self._bridge = bridge
        self.descriptor = descriptor
        # A heap by place; those who were cancelled stay until their turn comes.
        self._line: list[tuple[int, asyncio.Future[None]]] = []
        self._waiting = 0
        self._watched = False
        # Who was woken and has not come to it yet.
        self._called: asyncio.Future[None] | None = None

    async def wait(self, place: int | None = None) -> int:
        """Wait until there may be something; return the place in the line.

        Args:
            place: What this returned before, to whoever was woken in vain.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = next(self._bridge.places) if place is None else place
        heapq.heappush(self._line, (place, future))
        self._waiting += 1
        try:
            if not self._watched:
                self._watched = True
                self._bridge.watch(self)
            await future
        except BaseException:
            # One that was woken before it was cancelled has been counted off already.
            if future.cancelled() or not future.done():
                future.cancel()
                self._waiting -= 1
                self._rest()
            raise
        finally:
            if self._called is future:
                self._called = None
        return place

    def ready(self) -> None:
        """The descriptor is readable: wake the first in line."""
        while self._line and self._called is None:
            _, future = heapq.heappop(self._line)
            if not future.done():
                future.set_result(None)
                self._called = future
                self._waiting -= 1
                break
        self._rest()

    def release(self) -> None:
        """Wake all: the descriptor is about to be closed."""
        while self._waiting:
            self._called = None
            self.ready()

    def _rest(self) -> None:
        """Watch no longer, if nobody waits."""
        if self._watched and not self._waiting:
            self._watched = False
            self._line.clear()
            self._bridge.unwatch(self)
