"""Where workers live: on this machine (``local``), or on somebody else's engine.

Which engine a pool has that is given none is decided by the composition root, which says so here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.engines.contract import Engine
    from tines.engines.worker_process import ProcessObject

    Maker = Callable[[object, Callable[..., ProcessObject] | None, str | None], Engine]
    Namer = Callable[[object, object, object], Engine]

__all__ = ["default", "named", "set_default", "set_named"]

_make: Maker | None = None


def set_default(make: Maker) -> None:
    """Have ``make`` called for the engine of a pool that is given none, as :func:`default` is."""
    global _make
    _make = make


def default(
    context: object, make: Callable[..., ProcessObject] | None = None, name: str | None = None
) -> Engine:
    """Return an engine for a pool that is given none.

    Args:
        context: Says how processes are started; ``None``: by the default start method.
        make: Makes a process, of the context and what its class of processes is called with.
        name: What workers are called, where it is to be something of its own.
    """
    if _make is None:
        raise RuntimeError("no engine was set: import tines before you make a pool")
    return _make(context, make, name)


_find: Namer | None = None


def set_named(find: Namer) -> None:
    """Have ``find`` called for the engine of a pool that is given something else, as :func:`named` is."""
    global _find
    _find = find


def named(name: object, context: object, transport: object) -> Engine:
    """Return the engine of a name, or of an object that stands for one.

    Args:
        name: Such as ``"simulated:2"``, or a client of Dask's.
        context: Says how processes are started; ``None``: by the default start method.
        transport: What a machine uses within itself; ``None``: what is best there.

    Raises:
        ValueError: there is no such engine.
        TypeError: it is no name, and stands for no engine.
        ImportError: the engine's library is not installed.
    """
    if _find is None:
        raise RuntimeError("no engines were set: import tines before you make a pool")
    return _find(name, context, transport)
