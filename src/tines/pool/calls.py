"""How maps and iterators begin: what the caller gave is checked, the pool's defaults fill the rest.

The methods of ``Pool`` say what can be given; whatever a job is then made of is decided here, before
anything of it is sent: in which form the input is kept, how its tasks are treated, whether it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tines._arguments import check_function, check_iterable
from tines.pool.jobs.map import MapResult
from tines.pool.options import check_count, whole_number
from tines.pool.scheduler.phase import Phase

if TYPE_CHECKING:
    from tines.pool.facade import Pool
    from tines.pool.jobs.imap import IMapIterator
    from tines.pool.jobs.result import Callbacks
    from tines.progress.options import ProgressArgument

__all__ = ["begin_imap", "begin_map"]


def begin_map(
    pool: Pool,
    func: Callable[..., Any],
    iterable: Iterable[Any],
    kind: int,
    chunksize: int | None,
    callbacks: Callbacks | None,
    progress: ProgressArgument,
    options: Any,
) -> MapResult[Any]:
    """Begin a map whose chunks are of a ``kind``, and return its result to be.

    Raises:
        ValueError: the pool is not running, or the chunk size is out of range.
        TypeError: the function, the input or an option is none.
    """
    core = pool._core
    if core.state.phase is not Phase.OPEN:
        core.refuse()
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
    task_options = pool._task_options.changed(dict(options))
    shown = pool._displays.wanted(progress)
    if shown is None:
        result: MapResult[Any] = MapResult(
            pool, func, items, kind, chunksize, task_options, callbacks
        )
    else:
        result = pool._displays.map(
            shown, pool, func, items, kind, chunksize, task_options, callbacks
        )
    if items:
        core.begin(result)
    else:
        result.empty()
    return result


def begin_imap(
    pool: Pool,
    kind: type[IMapIterator[Any]],
    func: Callable[..., Any],
    iterable: Iterable[Any],
    chunksize: int,
    buffersize: int | None,
    progress: ProgressArgument,
    options: Any,
) -> IMapIterator[Any]:
    """Begin an iterator of a ``kind``, ordered or not, and return it.

    Raises:
        ValueError: the pool is not running, or a number is out of range.
        TypeError: the function, the input or an option is none.
    """
    core = pool._core
    if core.state.phase is not Phase.OPEN:
        core.refuse()
    chunksize = whole_number("chunksize", chunksize)
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
    if buffersize is None:
        buffersize = pool._options.buffersize
    else:
        check_count("buffersize", buffersize, minimum=1)
    check_function("func", func)
    check_iterable("iterable", iterable)
    shown = pool._displays.wanted(progress)
    task_options = pool._task_options.changed(dict(options))
    iterator = kind(pool, func, iterable, chunksize, buffersize, task_options)
    core.begin(iterator)
    if shown is None:
        return iterator
    return pool._displays.iterator(shown, iterator, func, iterable)
