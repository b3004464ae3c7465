"""A pool on an engine of somebody else's: it asks the engine, and nobody else, for all about workers."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from pool_tasks import square
from support.waiting import wait_for
from tines import transport
from tines.engines.contract import Engine, Running, Usage
from tines.engines.local import LocalEngine
from tines.pool import Pool
from tines.transport.contract import Transport


class ElsewhereWorker:
    """A worker whose process id means nothing here."""

    pid = 2**22 + 1  # beyond what this system has

    def __init__(self, running: Running) -> None:
        self._running = running

    def __getattr__(self, name: str) -> Any:
        return getattr(self._running, name)

    def usage(self) -> Usage:
        return Usage(memory=12345, cpu_seconds=6.5)


class Elsewhere:
    """Starts workers by means of a local engine, and lets on nothing of that."""

    method = "elsewhere"
    copies = False
    warm = False

    def __init__(self) -> None:
        self._local: Engine = LocalEngine(multiprocessing.get_context("spawn"), "spawn")
        self.expected: list[str] = []
        self.watched = 0

    def transport(self) -> Transport:
        return transport.named("pipe")

    def expect(self, modules: Iterable[str]) -> None:
        self.expected += modules

    def watch(self) -> None:
        self.watched += 1
        self._local.watch()

    def start(
        self,
        name: str,
        target: Callable[..., object],
        args: tuple[Any, ...],
        environment: Mapping[str, str],
    ) -> Running:
        return ElsewhereWorker(self._local.start(name, target, args, environment))  # type: ignore[return-value]


def test_a_pool_runs_on_the_engine_that_it_is_given() -> None:
    engine = Elsewhere()
    with Pool(1, engine=engine) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
        wait_for(lambda: engine.watched == 1)
        (worker,) = pool.statistics().workers
        assert (worker.pid, worker.memory, worker.cpu_seconds) == (2**22 + 1, 12345, 6.5)
        # What carries its tasks is the engine's to say.
        assert not pool._core.transport.shares_memory
        assert "tines.pool.worker.main" in engine.expected


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(TypeError, match="engine=3 is not an engine"):
        Pool(1, engine=3)  # type: ignore[arg-type]
