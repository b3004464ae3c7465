"""A drop-in ``multiprocessing`` that survives killed workers: ``import tines as mp``.

All names of ``multiprocessing`` are here with the same meaning. Most are methods of the default
context, as they are there; ``Queue`` and its like and ``Pool`` are the classes themselves, so that
they also serve as types. What costs time to import is imported on first use.
"""

from __future__ import annotations

import os
from multiprocessing import SUBDEBUG, SUBWARNING  # type: ignore[attr-defined]  # noqa: F401

from tines import _watchers, context, insight
from tines._lazy import on_first_use
from tines.context import (
    AuthenticationError,
    BufferTooShort,
    Process,
    ProcessError,
    TimeoutError,
)
from tines.process import active_children, current_process, parent_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.completion import as_completed
    from tines.errors import (
        DecodeError,
        EncodeError,
        NodeLostError,
        NodeMismatchError,
        PoolBrokenError,
        ProcessLostError,
        QueueShutDown,
        ResultEncodeError,
        StartError,
        TaskCancelledError,
        TaskTimeoutError,
        TinesError,
        TransportError,
        WaitTimeout,
        WorkerLostError,
    )
    from tines.executor import ProcessPoolExecutor
    from tines.pool import Pool
    from tines.process.waiting import wait
    from tines.queues import JoinableQueue, Queue, SimpleQueue
    from tines.tracing import Trace, trace

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "DecodeError",
    "EncodeError",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "NodeLostError",
    "NodeMismatchError",
    "Pipe",
    "Pool",
    "PoolBrokenError",
    "Process",
    "ProcessError",
    "ProcessLostError",
    "ProcessPoolExecutor",
    "Queue",
    "QueueShutDown",
    "RLock",
    "RawArray",
    "RawValue",
    "ResultEncodeError",
    "Semaphore",
    "SimpleQueue",
    "StartError",
    "TaskCancelledError",
    "TaskTimeoutError",
    "TimeoutError",
    "TinesError",
    "Trace",
    "TransportError",
    "Value",
    "WaitTimeout",
    "WorkerLostError",
    "active_children",
    "allow_connection_pickling",
    "as_completed",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "reducer",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
    "trace",
    "wait",
]

__version__ = "0.1.0"

_watchers.listeners.append(insight.Listener())

_default = context.default

Array = _default.Array
Barrier = _default.Barrier
BoundedSemaphore = _default.BoundedSemaphore
Condition = _default.Condition
Event = _default.Event
Lock = _default.Lock
Manager = _default.Manager
Pipe = _default.Pipe
RLock = _default.RLock
RawArray = _default.RawArray
RawValue = _default.RawValue
Semaphore = _default.Semaphore
Value = _default.Value
allow_connection_pickling = _default.allow_connection_pickling
cpu_count = _default.cpu_count
freeze_support = _default.freeze_support
get_all_start_methods = _default.get_all_start_methods
get_context = _default.get_context
get_logger = _default.get_logger
get_start_method = _default.get_start_method
log_to_stderr = _default.log_to_stderr
reducer = _default.reducer
set_executable = _default.set_executable
set_forkserver_preload = _default.set_forkserver_preload
set_start_method = _default.set_start_method

_ERRORS = (
    "DecodeError",
    "EncodeError",
    "NodeLostError",
    "NodeMismatchError",
    "PoolBrokenError",
    "ProcessLostError",
    "QueueShutDown",
    "ResultEncodeError",
    "StartError",
    "TaskCancelledError",
    "TaskTimeoutError",
    "TinesError",
    "TransportError",
    "WaitTimeout",
    "WorkerLostError",
)

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "JoinableQueue": "tines.queues",
        "Pool": "tines.pool",
        "ProcessPoolExecutor": "tines.executor",
        "Queue": "tines.queues",
        "SimpleQueue": "tines.queues",
        "Trace": "tines.tracing",
        "as_completed": "tines.completion",
        "trace": "tines.tracing",
        "wait": "tines.process.waiting",
        **dict.fromkeys(_ERRORS, "tines.errors"),
    },
    # Attributes of ``multiprocessing`` that are there once something was made, if nobody imports them.
    (
        "connection",
        "dummy",
        "managers",
        "pool",
        "queues",
        "reduction",
        "resource_tracker",
        "shared_memory",
        "sharedctypes",
        "spawn",
        "synchronize",
        "util",
    ),
)

if "TINES_TRACE" in os.environ:
    from tines.tracing.session import from_environment

    from_environment()
