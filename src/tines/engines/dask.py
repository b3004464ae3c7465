"""``dask``, ``tcp://host:port``, or a client or cluster of Dask's: each Dask worker is a node.

Dask places the agents, and says who its workers are; it sees nothing of calls and results. An agent is a
process that a Dask worker has started. It ends with the Dask worker, however that ends, and with the
program; that a scheduler is gone matters only as its workers end then.

    program's client --run--> Dask worker --starts--> agent --calls back--> program
                                  +- a plugin that lets go of the agent when the Dask worker closes

What is run in Dask workers is :func:`place`, :func:`look` and :func:`end`, for which tines has to be
installed there.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
import uuid
from typing import TYPE_CHECKING, Any

from tines import _clock
from tines.engines.names import count_in
from tines.engines.remote.engine import RemoteEngine
from tines.engines.remote.hosting import END_SECONDS, Agent
from tines.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.transport.contract import Transport

__all__ = ["DaskWorkers", "end", "engine", "look", "place"]

CONNECT_SECONDS = 10.0
"""How long it may take to reach a scheduler."""

WORKERS_SECONDS = 60.0
"""How long a cluster may take until it has a worker, and workers until they have started their agents."""

LOOK_SECONDS = 0.5
"""How often Dask is asked whether agents have ended that have not called yet."""


def engine(given: Any, method: str, here: Transport, context: Any) -> RemoteEngine:
    """Return the engine.

    Args:
        given: ``"dask"``, ``"dask:N"``, the address of a scheduler, or a client or cluster of Dask's.
        method: The start method for workers.
        here: The transport, here and there.
        context: What the pool says its context is.

    Raises:
        ImportError: Dask is not installed.
        NotImplementedError: the scheduler wants TLS.
        TypeError: the client is one for asyncio.
        ValueError: it is no address, or the client is closed.
    """
    distributed = _distributed(given)
    if isinstance(given, str):
        kind, _, rest = given.partition(":")
        if kind == "dask":
            count_in(given, 1)
        elif not rest.startswith("//") or not rest[2:].rpartition(":")[2].isdecimal():
            raise ValueError(
                f"engine={given!r} is not the address of a Dask scheduler: use one like 'tcp://host:8786'"
            )
        _refuse_tls(given)
    else:
        if getattr(given, "asynchronous", False):
            raise TypeError(
                f"engine={given!r} is asynchronous: use one without asynchronous=True, or the address of "
                "its scheduler"
            )
        if isinstance(given, distributed.Client) and given.status in ("closing", "closed"):
            raise ValueError(f"engine={given!r} is closed: pass a client that is connected")
    return RemoteEngine(DaskWorkers(given), method, here, context)


class DaskWorkers:
    """See :class:`tines.engines.remote.engine.Placement`.

    Args:
        given: As for :func:`engine`.
    """

    def __init__(self, given: Any) -> None:
        self.nodes = 0
        self._given = given
        self._token = f"tines-{uuid.uuid4().hex}"
        self._client: Any = None
        self._placed: list[str] = []
        self._own = contextlib.ExitStack()
        self._next_look = 0.0

    def host(self) -> str:
        """See the protocol."""
        try:
            self._client = self._connect()
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            raise StartError(
                f"Dask cannot be reached by engine={self._given!r}: {error}"
            ) from error
        scheduler = self._client.scheduler.address
        _refuse_tls(scheduler)
        kind, _, where = scheduler.partition("://")
        if kind == "inproc":
            return "127.0.0.1"
        name, _, port = where.rpartition(":")
        address: str = importlib.import_module("distributed.utils").get_ip(name, int(port))
        return address

    def begin(self, address: tuple[str, int], key: bytes) -> None:
        """See the protocol."""
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except OSError as error:
            raise StartError(
                f"the Dask cluster of engine={self._given!r} has no worker, after {WORKERS_SECONDS:g} s"
            ) from error
        try:
            placed = self._ask(place, address, key, seconds=WORKERS_SECONDS)
        except Exception as error:
            raise StartError(f"Dask could not start the nodes of the pool: {error!r}") from error
        self._placed = [worker for worker, answer in placed.items() if answer is None]
        self.nodes = len(placed)
        for worker, answer in placed.items():
            if answer is not None:
                raise StartError(f"Dask worker {worker} could not start a node: {answer!r}")

    def failed(self) -> str | None:
        """See the protocol."""
        if not _clock.passed(self._next_look):
            return None
        self._next_look = _clock.monotonic() + LOOK_SECONDS
        try:
            answers = self._ask(look, seconds=CONNECT_SECONDS, workers=self._placed)
        except Exception as error:
            return f"Dask does not answer: {error!r}"
        for worker, answer in answers.items():
            if answer is not None:
                return f"on Dask worker {worker}: {answer}"
        return None

    def end(self) -> None:
        """See the protocol. If Dask does not answer, the agents are ended by the ends of their streams."""
        try:
            if self._placed and self._client.status == "running":
                self._ask(end, seconds=END_SECONDS + 2)
        except Exception:
            pass  # Dask is going, or gone
        finally:
            self._own.close()

    def _connect(self) -> Any:
        """Return a client: the one that was given, or one of our own."""
        distributed = _distributed(self._given)
        given: Any = self._given
        if isinstance(given, distributed.Client):
            return given
        if given == "dask":
            try:
                return distributed.get_client()  # the worker's, in a task of Dask's
            except ValueError:
                given = importlib.import_module("dask").config.get("scheduler-address", None)
        if given is None or (isinstance(given, str) and given.startswith("dask")):
            # Nothing but agents will run there, which are processes anyway.
            given = self._own.enter_context(
                distributed.LocalCluster(
                    n_workers=count_in(given or "dask", 1),
                    processes=False,
                    threads_per_worker=1,
                    dashboard_address=":0",  # any port
                )
            )
        return self._own.enter_context(
            distributed.Client(given, set_as_default=False, timeout=CONNECT_SECONDS)
        )

    def _ask(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        seconds: float,
        workers: list[str] | None = None,
    ) -> dict[str, Any]:
        """Return what a function returns, or raises, in Dask workers: in all that there are, if not given."""

        async def ask() -> Any:
            return await self._client.run(
                function, self._token, *arguments, workers=workers, on_error="return"
            )

        answers: dict[str, Any] = self._client.sync(ask, callback_timeout=seconds)
        return answers


def _distributed(given: object) -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise ImportError(
            f"engine={given!r} needs Dask: install it with pip install 'tines[dask]' ({error})"
        ) from error


def _refuse_tls(address: str) -> None:
    if address.startswith("tls:"):
        raise NotImplementedError(
            f"the Dask scheduler at {address} uses TLS, and the stream between a pool and its nodes is not "
            "encrypted yet: what TLS should keep from others would cross the network in the clear"
        )


# In Dask workers.


async def place(token: str, address: tuple[str, int], key: bytes, dask_worker: Any) -> None:
    """Start an agent, which lives no longer than the Dask worker."""
    name = dask_worker.name
    agent = Agent(address, key, name if isinstance(name, str) else f"dask-{name}")
    distributed = importlib.import_module("distributed")
    held = type("TinesAgent", (distributed.WorkerPlugin,), {"agent": agent, "teardown": _let_go})
    await dask_worker.plugin_add(plugin=held(), name=token)
    threading.Thread(
        target=_reap, args=(agent, token, dask_worker), name="tines agent", daemon=True
    ).start()


async def look(token: str, dask_worker: Any) -> str | None:
    """Return why an agent will never call."""
    held = dask_worker.plugins.get(token)
    return "the agent has ended" if held is None else held.agent.problem()


async def end(token: str, dask_worker: Any) -> None:
    """See that an agent is gone."""
    held = dask_worker.plugins.pop(token, None)
    if held is not None:
        await asyncio.get_running_loop().run_in_executor(None, held.agent.end)


def _let_go(held: Any, worker: Any) -> None:
    held.agent.let_go()


def _reap(agent: Agent, token: str, dask_worker: Any) -> None:
    """Forget an agent that has ended as it should; another one is kept, to be asked about."""
    code = agent.wait()
    agent.let_go()
    if code == 0:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            dask_worker.loop.add_callback(dask_worker.plugins.pop, token, None)
