"""How far calls have come, shown while they run; ``progress=`` of the pool's methods.

The pool knows three things of this room: ``Counts``, which its jobs answer with when they are asked;
``choose``, which checks what a caller gave; and ``show``, which returns a ``Bar`` for one call. All
else is done by one thread (``live.py``) that exists while something is shown: it asks each job how far
it is and hands what to show to a display. Nothing is added to what the pool does for a task.
"""

from __future__ import annotations

from tines._lazy import on_first_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.progress.contract import Counts, Display, Line, Source
    from tines.progress.options import ProgressArgument, ProgressOptions

__all__ = ["Counts", "Display", "Line", "ProgressArgument", "ProgressOptions", "Source"]

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        **dict.fromkeys(("Counts", "Display", "Line", "Source"), "tines.progress.contract"),
        **dict.fromkeys(("ProgressArgument", "ProgressOptions"), "tines.progress.options"),
    },
)
