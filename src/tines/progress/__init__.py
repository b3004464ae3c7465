"""How far calls have come, shown while they run; ``progress=`` of the pool's methods.

The pool knows three things of this room: ``Counts``, which its jobs answer with when they are asked;
``choose``, which checks what a caller gave; and ``show``, which returns a ``Bar`` for one call. All
else is done by one thread (``live.py``) that exists while something is shown: it asks each job how far
it is and hands what to show to a display. Nothing is added to what the pool does for a task.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tines.progress.contract import Counts, Display, Line, Source
    from tines.progress.options import ProgressArgument, ProgressOptions

__all__ = ["Counts", "Display", "Line", "ProgressArgument", "ProgressOptions", "Source"]

_HOMES = {"ProgressArgument": "options", "ProgressOptions": "options"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'contract')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
