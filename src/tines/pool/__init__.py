"""Pools of worker processes; the names of ``multiprocessing.pool``.

``ThreadPool`` is the standard library's.
"""

from __future__ import annotations

from multiprocessing.pool import ThreadPool

from tines.pool.facade import Pool
from tines.pool.failures import MaybeEncodingError
from tines.pool.iterators import IMapIterator, IMapUnorderedIterator
from tines.pool.maps import MapResult
from tines.pool.options import PoolOptions, TaskOptions
from tines.pool.results import ApplyResult, AsyncResult

__all__ = [
    "ApplyResult",
    "AsyncResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "MaybeEncodingError",
    "Pool",
    "PoolOptions",
    "TaskOptions",
    "ThreadPool",
]
