"""The names that an engine can be given by, and which module makes it: the one table of engines.

Such a module is imported when its engine is asked for, and has a function ``engine(given, method, here,
context)``, which is handed what the pool was given. Processes on this machine (``local``) are not in the
table, as they are made by the composition root.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.engines.contract import Engine

__all__ = ["MOST", "VARIABLE", "check_name", "count_in", "default_name", "maker"]

VARIABLE = "TINES_ENGINE"
"""The environment variable that names the engine of what is given none."""

_BY_NAME = {
    "simulated": "tines.engines.simulated",
    "dask": "tines.engines.dask",
    "ray": "tines.engines.ray",
    "tcp": "tines.engines.dask",
    "tls": "tines.engines.dask",
}
"""By what stands before the first colon."""

_BY_LIBRARY = {"distributed": "tines.engines.dask"}
"""By the library in which a class of the object is defined, and :data:`_CLASSES` are what is meant there."""

_CLASSES = {"Client", "Cluster"}

_KNOWN = (
    "use 'local', 'simulated:N' (N nodes on this machine), 'ray', 'ray://host:10001', 'dask', or the address "
    "of a Dask scheduler, such as 'tcp://host:8786'"
)

MOST = 64
"""How many nodes there can be on this machine."""


def maker(given: object) -> Callable[[Any, str, Any, Any], Engine]:
    """Return what makes the engine that a pool was given by its name, or by an object of its library.

    Raises:
        ValueError: there is no engine of that name.
        TypeError: it is no engine, and nothing that stands for one.
        ImportError: the engine's library is not installed.
    """
    module = _module(given)
    if module is not None:
        make: Callable[[Any, str, Any, Any], Engine] = importlib.import_module(module).engine
        return make
    if isinstance(given, str):
        raise ValueError(f"engine={given!r} is not known: {_KNOWN}")
    raise TypeError(
        f"engine={given!r} is not an engine: pass the name of one, a Client of Dask's, an object with the "
        "methods of tines.engines.contract.Engine, or leave it out for processes on this machine"
    )


def default_name() -> str | None:
    """Return the engine that the environment names (``TINES_ENGINE``); ``None``: this machine.

    Raises:
        ValueError: there is no engine of that name.
    """
    given = os.environ.get(VARIABLE, "").strip()
    check_name(given, f"the environment variable {VARIABLE}=")
    return None if given in ("", "local") else given


def check_name(given: str, source: str) -> None:
    """See that there is an engine of that name, or that none is meant.

    Args:
        given: The name.
        source: What to write before it in the error.

    Raises:
        ValueError: there is none.
    """
    if given not in ("", "local") and _module(given) is None:
        raise ValueError(f"{source}{given!r} names no engine: {_KNOWN}")


def count_in(given: str, default: int) -> int:
    """Return the N of a name like ``"simulated:N"``.

    Raises:
        ValueError: N is not a whole number from 1 to :data:`MOST`.
    """
    kind, _, count = given.partition(":")
    if not count:
        return default
    if not count.isdecimal() or not 1 <= int(count) <= MOST:
        raise ValueError(
            f"engine={given!r}: say how many nodes, from 1 to {MOST}, as in '{kind}:2'"
        )
    return int(count)


def _module(given: object) -> str | None:
    if isinstance(given, str):
        return _BY_NAME.get(given.partition(":")[0])
    for each in type(given).__mro__:
        if each.__name__ in _CLASSES:
            found = _BY_LIBRARY.get(each.__module__.partition(".")[0])
            if found is not None:
                return found
    return None
