"""How the calls of one pool are shown, and the bars of those that are; next to nothing for the rest.

What shows (``progress.py``, ``tines.progress``) is imported by the first call that is shown.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tines.pool.jobs.imap import IMapIterator
    from tines.pool.jobs.map import MapResult
    from tines.pool.ports import Links
    from tines.progress.live import Bar
    from tines.progress.options import ProgressArgument, ProgressOptions

__all__ = ["Displays"]


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
        self, shown: ProgressOptions, links: Links, pool: object, func: Any, *arguments: Any
    ) -> MapResult[Any]:
        """Return the result of a map that is shown."""
        from tines.pool.progress import ShownMapResult, label_of

        result = ShownMapResult(links, pool, func, *arguments)
        self.add(result.show(shown, label_of(func)))
        return result

    def iterator(
        self,
        shown: ProgressOptions,
        iterator: IMapIterator[Any],
        func: Any,
        iterable: Iterable[Any],
    ) -> IMapIterator[Any]:
        """Return what stands before an iterator that is shown."""
        from tines.pool.progress import ShownIterator, label_of, length

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
