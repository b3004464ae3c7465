"""What happens at a fork of this process, and in which order: the one table of it.

A fork copies every lock as it is and no thread but its own. So whoever has a lock that a child may want
holds it across the fork (``before``, ``parent``, ``child``), or makes a new one in the child; and what
belongs to the parent alone is let go of in the child (``child``).

Ranks are nested: ``before`` goes from the highest rank down, what comes after a fork from the lowest up.
A lock that is taken while another one is held must therefore have the lower rank of the two. The order
does not depend on which module happens to be imported first.

A hook that raises does not keep the others from running. One that is added while a fork is under way
takes part from the next fork on.
"""

from __future__ import annotations

import enum
import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Hook = Callable[[], object]

__all__ = ["Rank", "at_fork"]


class Rank(enum.IntEnum):
    """Who takes part. The lower, the nearer to the fork itself."""

    RING = 0
    """Counts the child among those that hold channels and blocks, in the last step before the fork: what
    the hooks above do to channels is done by then. In the child first of all, as others may use them."""
    PIPE = 1
    """The same for the other transport."""
    LIVENESS = 2
    """Its lock is taken wherever a child is started, so it is below those that start some."""
    FORK_SERVER = 3
    """Holds its lock, so that no end of a socket that is passed on just now stays open in the child."""
    SPARES = 4
    """Above the fork server, some of whose ways they use; the child lets go of its parent's."""
    ENGINE = 5
    """The child closes the control pipes of its parent's workers."""
    NODES = 6
    """The child lets go of the streams to its parent's nodes."""
    AGENTS = 7
    """The child lets go of the agents that its parent has started: it would keep them alive."""
    POOLS = 8
    """The child's copies of pools learn that they have no workers, nor threads."""
    DISPLAYS = 9
    """The child draws nothing of what its parent shows."""
    RECORDER = 10
    """The child records as itself, or not at all."""
    TRACES = 11
    """The traces of the parent are not the child's to write."""
    PUBLISHER = 12
    """First of all before the fork: it waits until no answer is under way, which asks the pools and
    queues for their statistics; and it may have to end its thread, to start it again in the last step."""


class _Entry:
    __slots__ = ("before", "child", "parent", "rank")

    def __init__(
        self, rank: Rank, before: Hook | None, parent: Hook | None, child: Hook | None
    ) -> None:
        self.rank = rank
        self.before = before
        self.parent = parent
        self.child = child


# Replaced as a whole, by rank: a fork goes by the table that it found, to its end.
_table: tuple[_Entry, ...] = ()
_adding = threading.Lock()
# The tables of forks that are under way, by thread: a signal handler may fork in the midst of one.
_under_way: dict[int, list[tuple[_Entry, ...]]] = {}


def at_fork(
    rank: Rank,
    *,
    before: Hook | None = None,
    parent: Hook | None = None,
    child: Hook | None = None,
) -> None:
    """Take part in forks from now on.

    Args:
        rank: Whose these are; each has one entry.
        before: Called in the thread that forks.
        parent: Called in it afterwards.
        child: Called in the child's only thread.
    """
    global _table
    entry = _Entry(rank, before, parent, child)
    with _adding:
        others = [each for each in _table if each.rank != rank]
        _table = tuple(sorted([*others, entry], key=lambda each: each.rank))


def _before() -> None:
    table = _table
    _under_way.setdefault(threading.get_ident(), []).append(table)
    _call([each.before for each in reversed(table)])


def _in_parent() -> None:
    me = threading.get_ident()
    tables = _under_way.get(me)
    if not tables:
        return
    table = tables.pop()
    if not tables:
        del _under_way[me]
    _call([each.parent for each in table])


def _in_child() -> None:
    global _adding
    _adding = threading.Lock()
    me = threading.get_ident()
    tables = _under_way.get(me)
    _under_way.clear()  # of the other threads, which are not here
    if not tables:
        return
    table = tables.pop()
    if tables:
        _under_way[me] = tables
    _call([each.child for each in table])


def _call(hooks: list[Hook | None]) -> None:
    """Call all of them; the first exception is raised at the end, for the interpreter to print."""
    error = None
    for hook in hooks:
        if hook is not None:
            try:
                hook()
            except BaseException as raised:
                error = error or raised
    if error is not None:
        raise error


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
