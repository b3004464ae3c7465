"""Whether there is a process of some number."""

from __future__ import annotations

import os
import sys

__all__ = ["runs"]


def runs(pid: int) -> bool:
    """Whether there is such a process, be it ended and not collected; it may be another one by now.

    On Windows, where asking would be a signal, always.
    """
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
