"""How maps and iterators begin: what the caller gave is checked, the pool's defaults fill the rest.

The methods of ``Pool`` say what can be given; whatever a job is then made of is decided here, before
anything of it is sent: in which form the input is kept, how its tasks are treated, whether it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tines._arguments import check_function, check_iterable, whole_number
from tines.pool.jobs.map import MapResult

if TYPE_CHECKING:
    from tines.pool.jobs.imap import IMapIterator
    from tines.pool.jobs.result import Callbacks
    from tines.pool.options import PoolOptions
    from tines.pool.ports import Links
    from tines.pool.progress import Displays
    from tines.progress.options import ProgressArgument

__all__ = ["Calls"]


class Calls:
    """Begins the maps and iterators of one pool.

    Args:
        links: The ways of jobs to the pool.
        options: What holds for calls that do not say otherwise.
        displays: How calls are shown.
    """

    def __init__(self, links: Links, options: PoolOptions, displays: Displays) -> None:
        self._links = links
        self._options = options
        self._displays = displays

    def map(
        self,
        pool: object,
        func: Callable[..., object],
        iterable: Iterable[object],
        kind: int,
        chunksize: int | None,
        callbacks: Callbacks | None,
        progress: ProgressArgument,
        options: Any,
    ) -> MapResult[Any]:
        """Begin a map whose chunks are of a ``kind``; return the object for its result, which holds ``pool``.

        Raises:
            ValueError: the pool is not running, or the chunk size is out of range.
            TypeError: the function, the input or an option is none.
        """
        self._check_open()
        if chunksize is not None:
            chunksize = whole_number("chunksize", chunksize)
            if chunksize < 0:
                raise ValueError(
                    f"chunksize={chunksize} is too small: it must be at least 1, or None for the "
                    "pool to choose"
                )
        check_function("func", func)
        check_iterable("iterable", iterable)
        # Slices of these cost little, and those of a range next to nothing on the way either.
        items: Any = iterable if type(iterable) in (list, tuple, range) else list(iterable)
        task_options = self._options.task.changed(dict(options))
        shown = self._displays.wanted(progress)
        arguments = (func, items, kind, chunksize, task_options, callbacks)
        if shown is None:
            result: MapResult[object] = MapResult(self._links, pool, *arguments)
        else:
            result = self._displays.map(shown, self._links, pool, *arguments)
        if items:
            self._begin(result)
        else:
            result.empty()
        return result

    def imap(
        self,
        pool: object,
        kind: type[IMapIterator[object]],
        func: Callable[..., object],
        iterable: Iterable[object],
        chunksize: int,
        buffersize: int | None,
        progress: ProgressArgument,
        options: Any,
        *,
        star: bool = False,
    ) -> IMapIterator[Any]:
        """Begin an iterator of a ``kind``, ordered or not, and return it; it holds ``pool``.

        With ``star`` each item is a tuple of arguments.

        Raises:
            ValueError: the pool is not running, or a number is out of range.
            TypeError: the function, the input or an option is none.
        """
        self._check_open()
        chunksize = whole_number("chunksize", chunksize)
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if buffersize is None:
            buffersize = self._options.buffersize
        else:
            buffersize = whole_number("buffersize", buffersize, least=1)
        check_function("func", func)
        check_iterable("iterable", iterable)
        shown = self._displays.wanted(progress)
        task_options = self._options.task.changed(dict(options))
        iterator = kind(
            self._links, pool, func, iterable, chunksize, buffersize, task_options, star=star
        )
        self._begin(iterator)
        if shown is None:
            return iterator
        return self._displays.iterator(shown, iterator, func, iterable)

    def _check_open(self) -> None:
        if not self._links.registry.is_open:
            self._links.feeding.refuse()

    def _begin(self, job: MapResult[object] | IMapIterator[object]) -> None:
        """Begin to feed a job; if that is interrupted, nobody gets it, and what was sent is cancelled."""
        try:
            self._links.feeding.begin(job)
        except BaseException:
            job.withdraw()
            raise
