"""Processes: the names of ``multiprocessing.process``, and ours.

``BaseProcess``, ``current_process()`` and their like are the standard library's own: there is one
current process and one list of children in a program, whichever of the two packages started them.

To read it, bottom-up; the two rooms open with a map of their own::

    shared_file  files without a name, between a parent and one child
    liveness     who ends with its parent, and how
    family       processes that live as long as a family: the servers of managers
    stacks       the stacks of running children, asked for by a signal
    lifecycle/   a child's life, and what it leaves behind
    waiting      waiting for several processes at once
    base         what every process object can do, however its child is started
    start/       fork, spawn, fork server: how a child comes to be
    concrete     the process class of each start method
"""

from __future__ import annotations

import multiprocessing.process as _std
from multiprocessing.process import (
    BaseProcess,
    active_children,
    current_process,
    parent_process,
)

from tines.process.base import ManagedProcess
from tines.process.concrete import CONCRETE, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tines.process.waiting import as_completed, wait

__all__ = [
    "CONCRETE",
    "BaseProcess",
    "ManagedProcess",
    "Process",
    "active_children",
    "as_completed",
    "current_process",
    "parent_process",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name in ("as_completed", "wait"):
        from tines.process import waiting

        return getattr(waiting, name)
    # What is not public there changes while a program runs (``_current_process``), so it is
    # looked up each time.
    return getattr(_std, name)
