"""Calls whose progress is shown, and the bars of those that are; next to nothing for the rest.

A map tells its bar when it is over. An iterator's bar belongs to what the consumer holds, which stands
before the iterator of the pool: that one lives for as long as there is work for it, but when the
consumer has left, nothing is to be shown any more.

What draws (``tines.progress``) is imported by the first call that is shown.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tines.errors import WaitTimeout
from tines.pool.jobs.map import MapResult
from tines.pool.jobs.result import ApplyResult
from tines.progress.contract import Counts

if TYPE_CHECKING:
    from tines.pool.jobs.imap import IMapIterator
    from tines.pool.ports import Links
    from tines.progress.live import Bar
    from tines.progress.options import ProgressArgument, ProgressOptions

__all__ = ["Displays", "Group", "ShownIterator", "ShownMapResult", "label_of", "length", "watch"]


class Displays:
    """See the module. Any thread may call.

    Args:
        progress: What holds for calls that do not say otherwise.

    Raises:
        TypeError: ``progress`` is not understood.
    """

    def __init__(self, progress: ProgressArgument) -> None:
        self._default = progress
        # By id. No ``WeakSet``, which must not grow while another thread goes through it; and no lock,
        # which a thread may hold when another one forks.
        self._bars: dict[int, weakref.ref[Bar]] = {}
        self.wanted(None)

    def wanted(self, progress: ProgressArgument) -> ProgressOptions | None:
        """Return how a call is to be shown, ``None`` if it is not."""
        if progress is None:
            progress = self._default
        if progress is None or progress is False:
            return None
        from tines.progress.options import choose

        return choose(progress)

    def map(
        self,
        shown: ProgressOptions,
        links: Links,
        pool: object,
        func: Callable[..., object],
        *arguments: Any,
    ) -> MapResult[Any]:
        """Return the result of a map that is shown."""
        result = ShownMapResult(links, pool, func, *arguments)
        self.add(result.show(shown, label_of(func)))
        return result

    def iterator(
        self,
        shown: ProgressOptions,
        iterator: IMapIterator[object],
        func: object,
        iterable: Iterable[object],
    ) -> IMapIterator[object]:
        """Return what stands before an iterator that is shown."""
        shown_iterator = ShownIterator(iterator, shown, label_of(func), length(iterable))
        self.add(shown_iterator.bar)
        return shown_iterator  # type: ignore[return-value]

    def add(self, bar: Bar) -> None:
        """Have a bar closed at the end of the pool, if it is there by then."""
        bars, key = self._bars, id(bar)
        bars[key] = weakref.ref(bar, lambda _: bars.pop(key, None))

    def close(self) -> None:
        """Nothing runs any more, so nothing is shown any more."""
        for reference in self._bars.copy().values():
            bar = reference()
            if bar is not None:
                bar.close()


def label_of(func: object) -> str:
    """Return what a function is called on the display."""
    inner = func
    while hasattr(inner, "func"):  # functools.partial
        inner = inner.func
    return str(getattr(inner, "__name__", type(inner).__name__))


def length(iterable: object) -> int | None:
    """Return ``len()`` of an input, ``None`` if it has none."""
    try:
        return len(iterable)  # type: ignore[arg-type]
    except TypeError:
        return None


class ShownMapResult(MapResult[Any]):
    """The result of a map that is shown."""

    bar: Bar | None = None

    def show(self, options: ProgressOptions, name: str) -> Bar:
        """Show it. Before it begins, so that its end cannot be missed."""
        from tines.progress.live import show

        self.bar = show(self, options, name)
        return self.bar

    def get(self, timeout: float | None = None) -> Any:
        """See :meth:`MapResult.get`. When it returns, the display shows the end."""
        try:
            with self._attended():
                return super().get(timeout)
        finally:
            del self  # the traceback of an error refers to this frame

    def wait(self, timeout: float | None = None) -> None:
        """See :meth:`MapResult.wait`."""
        with self._attended():
            super().wait(timeout)

    @contextlib.contextmanager
    def _attended(self) -> Iterator[None]:
        """Close the bar when somebody has waited to the end, or was interrupted."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self._close_bar()
            raise
        finally:
            if self.settled:
                self._close_bar()

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _finish(self) -> None:
        super()._finish()
        if self.bar is not None:
            self.bar.finish()


class ShownIterator:
    """What ``imap`` and ``imap_unordered`` return when they are shown: the iterator, with a bar."""

    def __init__(
        self, inner: IMapIterator[object], options: ProgressOptions, name: str, total: int | None
    ) -> None:
        from tines.progress.live import show

        self._inner = inner
        self._raised = raised = _Raised(inner)
        self.bar = show(raised, options, name, total, consumed=True)
        # It takes no lock, so it may run wherever the garbage collector does.
        weakref.finalize(self, self.bar.finish).atexit = False

    def __iter__(self) -> ShownIterator:
        return self

    def __next__(self) -> Any:
        try:
            return self.next()
        finally:
            del self

    def next(self, timeout: float | None = None) -> Any:
        """See :meth:`IMapIterator.next`."""
        try:
            return self._inner.next(timeout)
        except (StopIteration, KeyboardInterrupt, SystemExit):
            self.bar.close()
            raise
        except WaitTimeout:
            raise
        except Exception:
            self._raised.failed += 1
            raise
        finally:
            del self  # a traceback refers to this frame, and a consumer that is left has to go

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Raised:
    """Counts for an iterator what it raised: it does not itself."""

    def __init__(self, inner: IMapIterator[object]) -> None:
        self._inner = inner
        self.failed = 0

    def counts(self) -> Counts:
        """Return the counts of the iterator and of its consumer."""
        counts = self._inner.counts()
        return counts._replace(failed=counts.failed + self.failed)


class Group:
    """Several results, counted together. What is over is looked at once."""

    def __init__(self, results: Sequence[ApplyResult[object]]) -> None:
        self._open = list(results)
        self._over = Counts(0, 0, 0, 0)

    def counts(self) -> Counts:
        """Return the sums. Only the display's thread calls it."""
        still_open = []
        totals = self._over
        for result in self._open:
            # First whether it is settled: what is counted then is final.
            settled = result.settled
            counts = result.counts()
            if settled:
                self._over = _sum(self._over, counts)
            else:
                still_open.append(result)
            totals = _sum(totals, counts)
        self._open = still_open
        return totals


def _sum(one: Counts, two: Counts) -> Counts:
    return Counts(
        one.done + two.done,
        one.failed + two.failed,
        one.retried + two.retried,
        (one.total or 0) + (two.total or 0),
    )


@contextlib.contextmanager
def watch(
    results: Iterable[ApplyResult[Any]], progress: object = True, *, description: str = "tasks"
) -> Iterator[list[ApplyResult[object]]]:
    """Show, while the ``with`` block runs, how far a group of results has come.

    Args:
        results: What ``apply_async``, ``map_async`` and ``starmap_async`` returned.
        progress: As for the pool's methods.
        description: What to call them, if the options do not say.

    Returns:
        The results, as a list.

    Raises:
        TypeError: one of them is no result of a pool, or ``progress`` is not understood.
    """
    group = list(results)
    for result in group:
        if not isinstance(result, ApplyResult):
            raise TypeError(
                f"results must be what apply_async() or map_async() returned; {result!r} is not"
            )
    from tines.progress.live import show
    from tines.progress.options import choose

    options = choose(progress)
    if options is None:
        yield group
        return
    bar = show(Group(group), options, description)
    try:
        yield group
    finally:
        bar.close()
