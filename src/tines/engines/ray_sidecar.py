"""The process beside a program that is the client of Ray: see :mod:`tines.engines.ray`.

It connects, has an actor on each node that starts an agent, and says when one of these has ended. An actor
holds one CPU, so Ray places it where there is one, and its autoscaler sees what ``ray:N`` still lacks. The
actors end with this process, and their agents with them.

What Ray and the nodes print goes to standard error: Ray brings it here, with the node's process before it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import queue
import signal
import socket
import sys
import threading
from typing import Any

from tines import _clock
from tines.engines.ray import Place, Where
from tines.engines.remote.hosting import END_SECONDS, Agent

__all__ = ["AgentHost", "main"]


def main() -> None:
    """Be the sidecar. What its process runs."""
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)
    sidecar = _Sidecar(answers)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines, sidecar), name="tines lines", daemon=True).start()
    try:
        sidecar.connect(Where(**json.loads(lines.get())))
        sidecar.place(Place(**json.loads(lines.get())))
        sidecar.watch()
    except BaseException as error:  # Ray raises SystemExit too
        sidecar.say(problem=f"{type(error).__name__}: {error}")
    signal.pause()  # the program ends it


def _read(lines: queue.SimpleQueue[bytes], sidecar: _Sidecar) -> None:
    """Take what the program says, and end with it, whatever Ray is at."""
    for line in sys.stdin.buffer:
        lines.put(line)
    sidecar.end()


class AgentHost:
    """The actor: it starts an agent, which lives no longer than the actor.

    Args:
        address: Where the agent calls.
        key: The pool's.
    """

    def __init__(self, address: tuple[str, int], key: str) -> None:
        node = importlib.import_module("ray").get_runtime_context().get_node_id()
        self._agent = Agent(address, bytes.fromhex(key), f"ray-{node[:8]}")

    def there(self) -> None:
        """Return when it is."""

    def wait(self) -> str:
        """Return how the agent has ended, then."""
        code = self._agent.wait()
        return self._agent.problem() or f"the agent ended with code {code}"

    def end(self) -> None:
        """See that the agent is gone."""
        self._agent.end()


class _Sidecar:
    """See the module.

    Args:
        answers: Where the program reads.
    """

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._ray: Any = importlib.import_module("ray")
        self._actors: list[Any] = []

    def say(self, **what: object) -> None:
        """Send a line; nobody may be there to read it."""
        try:
            os.write(self._answers, json.dumps(what).encode() + b"\n")
        except OSError:
            pass

    def connect(self, where: Where) -> None:
        """Connect to a cluster, or start one; say by which address of this machine it is reached."""
        self._ray.init(where.address, logging_level="warning", ignore_reinit_error=True)
        head = where.address or self._ray.get_runtime_context().gcs_address
        host, _, port = head.rpartition("//")[2].rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, int(port)))  # nothing is sent
            self.say(host=sock.getsockname()[0])

    def place(self, place: Place) -> None:
        """Start agents, and say how many."""
        until = _clock.monotonic() + place.seconds
        where = self._spread(place.nodes, until) if place.nodes else self._all_nodes()
        kind = self._ray.remote(num_cpus=1, max_restarts=0, max_concurrency=3)(AgentHost)
        self._actors = [
            kind.options(scheduling_strategy=each).remote(tuple(place.address), place.key)
            for each in where
        ]
        there = [actor.there.remote() for actor in self._actors]
        left = max(0.0, until - _clock.monotonic())
        ready, missing = self._ray.wait(there, num_returns=len(there), timeout=left)
        self._ray.get(ready)
        if missing:
            raise TimeoutError(
                f"{len(missing)} of {len(there)} nodes have not had a free CPU for {place.seconds:g} s"
            )
        self.say(nodes=len(there))

    def watch(self) -> None:
        """Say which agents end, until the program does not want to know it."""
        waited_for = [actor.wait.remote() for actor in self._actors]
        while waited_for:
            (ended, *_), waited_for = self._ray.wait(waited_for)
            try:
                how = self._ray.get(ended)
            except Exception as error:
                how = f"an actor of Ray's ended: {error}"
            self.say(ended=how)

    def end(self) -> None:
        """End all agents, and this process."""
        try:
            ends = [actor.end.remote() for actor in self._actors]
            if ends:
                self._ray.wait(ends, num_returns=len(ends), timeout=END_SECONDS)
                self._ray.shutdown()
        finally:
            os._exit(0)

    def _all_nodes(self) -> list[Any]:
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        nodes = [
            each for each in self._ray.nodes() if each["Alive"] and each["Resources"].get("CPU")
        ]
        if not nodes:
            raise RuntimeError(
                "no node of the cluster has a CPU: say how many you want, as in 'ray:4'"
            )
        return [
            strategies.NodeAffinitySchedulingStrategy(each["NodeID"], soft=False) for each in nodes
        ]

    def _spread(self, nodes: int, until: float) -> list[Any]:
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        group = self._ray.util.placement_group([{"CPU": 1}] * nodes, strategy="STRICT_SPREAD")
        if not group.wait(max(0.0, until - _clock.monotonic())):
            raise TimeoutError(f"the cluster has not got {nodes} nodes with a free CPU")
        return [
            strategies.PlacementGroupSchedulingStrategy(group, number) for number in range(nodes)
        ]
