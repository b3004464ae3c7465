"""``aio.Pool``: a pool of worker processes whose calls are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from tines import pool as pools
from tines._arguments import check_iterable, whole_number
from tines.aio.bridge import current, wake
from tines.aio.stream import ResultIterator, Stream
from tines.errors import TransportError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from tines.pool.jobs.result import ApplyResult
    from tines.pool.ports import CallRoom
    from tines.progress.options import ProgressArgument

__all__ = ["Pool", "outcome"]

S = TypeVar("S")
T = TypeVar("T")

ENDED = (ValueError, TransportError)
"""What cancelling raises where the pool has ended meanwhile, and there is nothing to cancel."""


async def outcome(result: ApplyResult[T]) -> T:
    """Wait for a result of any pool; return its value, or raise what the call raised.

    Args:
        result: What ``apply_async``, ``map_async`` or ``starmap_async`` returned. It is cancelled when
            the task that waits for it is.
    """
    if not result.settled:
        bridge = current()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        result.add_done_callback(lambda _: bridge.post(lambda: wake(future)))
        result.hasten()
        try:
            await future
        except asyncio.CancelledError:
            with suppress(*ENDED):
                # Of many that are cancelled in one turn of the loop, those that run are stopped after
                # the others were taken back: their workers would take up the next of them.
                if not result.revoke():
                    asyncio.get_running_loop().call_soon(_stop, result)
            raise
    try:
        return result.get(0)
    finally:
        del result  # the traceback of an error refers to this frame


def _stop(result: ApplyResult[Any]) -> None:
    with suppress(*ENDED):
        result.cancel()


class Pool:
    """A front for a :class:`tines.Pool`: calls are awaited, without a thread for each.

    Cancelling a task that awaits a call cancels the call: if it has not started it never will,
    otherwise it is interrupted. ``timeout=`` of a call limits its run time in the worker, and
    ``asyncio.timeout()`` how long a task waits, after which the call is cancelled.

    Args:
        processes: How many workers; by default one for each usable core.
        arguments: Further arguments of :class:`tines.Pool`, by position.
        options: The same by name.

    Attributes:
        pool: The pool behind it, for everything that does not wait (``statistics()``, ``resize()``).
    """

    pool: pools.Pool

    def __init__(self, processes: int | None = None, *arguments: Any, **options: Any) -> None:
        self.pool = pools.Pool(processes, *arguments, **options)
        self._owner = True

    @classmethod
    def wrap(cls, pool: pools.Pool) -> Self:
        """Return a front for a pool that exists. Leaving its ``async with`` leaves the pool alone."""
        if not isinstance(pool, pools.Pool):
            raise TypeError(f"pool must be a tines.Pool, not {pool!r}")
        front = cls.__new__(cls)
        front.pool = pool
        front._owner = False
        return front

    async def apply(
        self,
        func: Callable[..., T],
        args: Iterable[object] = (),
        kwds: Mapping[str, object] = {},
        **options: Any,
    ) -> T:
        """Call ``func(*args, **kwds)`` in a worker and return what it returns."""
        if self.pool._links.pressure.full:
            await _room(self.pool._links.pressure)
        return await outcome(self.pool.apply_async(func, args, kwds, **options))

    async def map(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S] | AsyncIterable[S],
        chunksize: int | None = None,
        **options: Any,
    ) -> list[T]:
        """Return ``func`` of each item; an asynchronous input is read to its end first."""
        items = await _listed(iterable)
        return await outcome(self.pool.map_async(func, items, chunksize, **options))

    async def starmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[object]] | AsyncIterable[Iterable[object]],
        chunksize: int | None = None,
        **options: Any,
    ) -> list[T]:
        """Return ``func(*item)`` of each item; otherwise as :meth:`map`."""
        items = await _listed(iterable)
        return await outcome(self.pool.starmap_async(func, items, chunksize, **options))

    def imap(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S] | AsyncIterable[S],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: ProgressArgument = None,
        **options: object,
    ) -> ResultIterator[T]:
        """Iterate over the results in order: ``async for value in pool.imap(...)``.

        Args:
            func: What to call.
            iterable: Its arguments. It is read a bounded window ahead of the consumer, an ordinary
                iterable in the loop's thread: one that may block should be an asynchronous one.
            chunksize: How many items travel together.
            buffersize: How many items are read ahead at most; 16 a worker, if not given.
            progress: Whether and how to show how far it is, as for :meth:`tines.Pool.imap`.
            options: Those of a call: ``retries``, ``timeout`` and so on.

        Raises:
            ValueError: the pool is not running, or a number is out of range.
            RuntimeError: no event loop is running here.
        """
        return self._imap(True, func, iterable, chunksize, buffersize, progress, options)

    def imap_unordered(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S] | AsyncIterable[S],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: ProgressArgument = None,
        **options: object,
    ) -> ResultIterator[T]:
        """Iterate over the results as they come; otherwise as :meth:`imap`."""
        return self._imap(False, func, iterable, chunksize, buffersize, progress, options)

    def istarmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[object]] | AsyncIterable[Iterable[object]],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: ProgressArgument = None,
        **options: object,
    ) -> ResultIterator[T]:
        """Iterate over ``func(*item)`` for each item in order; otherwise as :meth:`imap`."""
        arguments = (func, iterable, chunksize, buffersize, progress, options)
        return self._imap(True, *arguments, star=True)

    def istarmap_unordered(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[object]] | AsyncIterable[Iterable[object]],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: ProgressArgument = None,
        **options: object,
    ) -> ResultIterator[T]:
        """Iterate over the results as they come; otherwise as :meth:`istarmap`."""
        arguments = (func, iterable, chunksize, buffersize, progress, options)
        return self._imap(False, *arguments, star=True)

    def _imap(
        self,
        ordered: bool,
        func: Callable[..., T],
        iterable: Any,
        chunksize: int,
        buffersize: int | None,
        progress: ProgressArgument,
        options: dict[str, object],
        *,
        star: bool = False,
    ) -> ResultIterator[T]:
        pool = self.pool
        chunksize = whole_number("chunksize", chunksize, least=1)
        if buffersize is None:
            buffersize = pool._options.buffersize
        else:
            buffersize = whole_number("buffersize", buffersize, least=1)
        shown = pool._displays.wanted(progress)
        bridge = current()
        stream = Stream(
            pool._links,
            pool,
            func,
            iterable,
            pool._task_options.changed(options),
            bridge,
            ordered=ordered,
            star=star,
            chunksize=chunksize,
            buffersize=buffersize,
        )
        pool._links.feeding.begin(stream)
        if shown is not None:
            from tines.pool.progress import label_of, length
            from tines.progress.live import show

            stream.bar = show(stream, shown, label_of(func), length(iterable), consumed=True)
            pool._displays.add(stream.bar)
        return ResultIterator(stream, bridge)

    def close(self) -> None:
        """Accept no more calls. The workers leave when what was accepted is done."""
        self.pool.close()

    async def join(self) -> None:
        """Wait for the workers to leave, after :meth:`close` or :meth:`terminate`."""
        await asyncio.to_thread(self.pool.join)

    async def terminate(self) -> None:
        """Stop the workers at once; what is not done fails."""
        await asyncio.to_thread(self.pool.terminate)

    async def __aenter__(self) -> Self:
        self.pool.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owner:
            await self.terminate()

    def __repr__(self) -> str:
        return f"<aio {self.pool!r}>"

    def _repr_html_(self) -> str | None:
        """What notebooks show."""
        return self.pool._repr_html_()


class _Turn:
    """Wakes a task when something is over, and there may be room for what it wants to send."""

    def __init__(self, pressure: CallRoom) -> None:
        self._pressure = pressure
        self._bridge = current()
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """Any thread."""
        if not self._pressure.full:
            self._bridge.post(lambda: wake(self.future))


async def _room(pressure: CallRoom) -> None:
    """Wait until not too many bytes are under way."""
    while pressure.full:
        turn = _Turn(pressure)
        pressure.watch(turn)
        try:
            turn.wake()  # there may have been room before it watched
            await turn.future
        finally:
            pressure.unwatch(turn)


async def _listed(iterable: object) -> Any:
    if isinstance(iterable, AsyncIterable):
        return [item async for item in iterable]
    check_iterable("iterable", iterable)
    return iterable
