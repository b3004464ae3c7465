"""Queues between any processes on any nodes: those of :mod:`tines.queues`, on channels that all nodes reach.

The program owns them, and each process that uses one connects to it. What cannot travel to another node is
refused when it is put, by the channel.
"""

from __future__ import annotations

from typing import TypeVar

from tines import queues

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

T = TypeVar("T")


class Queue(queues.Queue[T]):  # noqa: D101
    __doc__ = queues.Queue.__doc__


class JoinableQueue(queues.JoinableQueue[T]):  # noqa: D101
    __doc__ = queues.JoinableQueue.__doc__


class SimpleQueue(queues.SimpleQueue[T]):  # noqa: D101
    __doc__ = queues.SimpleQueue.__doc__
