"""Forked workers of one case that start each phase together.

The parent talks to each worker over a connection of the standard library's, whatever peer is being
measured, and watches the worker's sentinel beside it: a worker that dies fails the case at once.
Under ``fork`` everything is inherited, so nothing here is pickled but numbers.

A phase: the parent sends its arguments, all workers answer that they are ready, the parent says go,
each worker runs its function and answers with when it began, when it ended and what it found.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmarks.calibrate import clock
from benchmarks.peers.contract import Peer

__all__ = ["Crew", "Phase"]

Role = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Phase:
    """What one phase took, from the first start to the last end, and each worker's answer."""

    seconds: float
    answers: list[Any]


class WorkerFailed(Exception):
    """A worker of the case died, or its function raised."""


def _serve(function: Callable[..., Any], fixed: tuple[Any, ...], control: Connection) -> None:
    while True:
        arguments = control.recv()
        if arguments is None:
            return
        control.send("ready")
        control.recv()
        start = clock()
        try:
            answer = function(*fixed, *arguments)
        except BaseException:
            control.send(("failed", traceback.format_exc()))
            raise
        control.send(("done", start, clock(), answer))


class Crew:
    """Context manager around the workers; ``roles`` are ``(function, fixed arguments)``."""

    def __init__(self, peer: Peer, roles: Sequence[Role]) -> None:
        self._workers: list[tuple[Any, Connection]] = []
        for function, fixed in roles:
            ours, theirs = multiprocessing.Pipe()
            process = peer.forked(_serve, (function, fixed, theirs))
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    def phase(self, *arguments: Any) -> Phase:
        """Run every worker's function once, with these arguments after its fixed ones.

        Raises:
            WorkerFailed: one of them died or raised.
        """
        for _, control in self._workers:
            control.send(arguments)
        self._gather()
        for _, control in self._workers:
            control.send("go")
        answers = self._gather()
        for answer in answers:
            if answer[0] == "failed":
                raise WorkerFailed(answer[1])
        seconds = max(answer[2] for answer in answers) - min(answer[1] for answer in answers)
        return Phase(seconds, [answer[3] for answer in answers])

    def _gather(self) -> list[Any]:
        """One message from each worker, in the workers' order."""
        answers: dict[int, Any] = {}
        while len(answers) < len(self._workers):
            waiting = {
                source: index
                for index, (process, control) in enumerate(self._workers)
                if index not in answers
                for source in (control, process.sentinel)
            }
            for source in wait(list(waiting)):
                index = waiting[source]
                if index in answers:  # its connection and its sentinel at once
                    continue
                process, control = self._workers[index]
                try:
                    if not control.poll():  # only its sentinel is ready
                        raise EOFError
                    answers[index] = control.recv()
                except (EOFError, ConnectionError):
                    process.join()
                    raise WorkerFailed(f"a worker died, exit code {process.exitcode}") from None
        return [answers[index] for index in sorted(answers)]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for process, control in self._workers:
            if kind is None:
                control.send(None)
            else:
                process.terminate()
        for process, _control in self._workers:
            process.join()
