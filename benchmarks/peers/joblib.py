"""joblib: ``Parallel`` over its default backend, kept open as a pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.model import Feature, Unsupported
from benchmarks.peers.contract import Function, Peer, Pool

__all__ = ["PEERS"]


class _JoblibPool(Pool):
    """Each call is one ``Parallel`` over joblib's reusable workers, as in its documentation."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def _run(self, function: Function, items: Iterable[Any], **options: Any) -> Any:
        import joblib

        call = joblib.delayed(function)
        return joblib.Parallel(n_jobs=self.workers, **options)(call(item) for item in items)

    def apply(self, function: Function, item: Any) -> Any:
        return self._run(function, [item])[0]

    def submit(self, function: Function, item: Any) -> Any:
        raise Unsupported("it has no way to submit one task")

    def result(self, handle: Any) -> Any:
        raise Unsupported("it has no way to submit one task")

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None) -> list[Any]:
        size = "auto" if chunksize is None else chunksize
        results: list[Any] = self._run(function, items, batch_size=size)
        return results

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._run(function, items, return_as="generator"))

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._run(function, items, return_as="generator_unordered"))

    def close(self) -> None:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)


class _Joblib(Peer):
    name = title = module = distribution = "joblib"
    offers = frozenset({Feature.POOL})

    def pool(self, workers: int) -> Pool:
        return _JoblibPool(workers)


PEERS = (_Joblib(),)
