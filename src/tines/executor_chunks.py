"""Several calls of an executor's ``map`` as one: what runs in the worker, and what comes back.

A chunk that was to keep exceptions has them in the places of its results; one that fails as a whole (its
worker died) stands for as many errors as it had calls.
"""

from __future__ import annotations

import os
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from tines.pool.jobs.result import may_be_returned
from tines.pool.worker.functions import describe_call, name_of
from tines.wire.tracebacks import RemoteException

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["results_of", "run_chunk", "run_guarded"]


def run_chunk(fn: Callable[..., object], chunk: list[tuple[object, ...]]) -> list[object]:
    """Run a chunk; the first exception ends it."""
    return [fn(*arguments) for arguments in chunk]


def run_guarded(fn: Callable[..., object], chunk: list[tuple[object, ...]]) -> list[object]:
    """Run a chunk to its end; exceptions take the places of their results."""
    results: list[object] = []
    for index, arguments in enumerate(chunk):
        try:
            results.append(fn(*arguments))
        except Exception as error:
            remote = RemoteException.capture(error)
            remote.place = (describe_call(name_of(fn), arguments, {}), index, os.getpid())
            results.append(remote)
    return results


def results_of(future: Future[list[object]], stands_for: int, timeout: float | None) -> list[Any]:
    """Return the results of a chunk, the last first."""
    try:
        results = future.result(timeout)
    except BaseException as error:
        # Not what the wait itself raises, nor the end of the executor.
        if not stands_for or not future.done() or not may_be_returned(error):
            raise
        if isinstance(error, CancelledError):
            raise
        return [error] * stands_for
    if stands_for:
        results = [each.revive() if type(each) is RemoteException else each for each in results]
    return results[::-1]


def _what_runs(fn: Callable[..., object], chunk: list[tuple[object, ...]]) -> str:
    """Say what a chunk runs, for the note on its exception."""
    calls = describe_call(name_of(fn), chunk[0], {})
    return calls if len(chunk) == 1 else f"{calls} and the {len(chunk) - 1} that follow"


for _run in (run_chunk, run_guarded):
    _run.__dict__["what_runs"] = _what_runs
