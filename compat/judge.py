"""Runs the tests of one suite and start method for one subject, in shards.

A shard is a process that runs some of the tests one after the other. Each test has a limit: at the
limit the shard is asked for its stacks (``SIGABRT`` and ``faulthandler``), its whole process group is
killed, the test is a hang, and a new shard goes on with those behind it. The same when a shard
dies: the test that was running is a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from compat.suites import Suite, Unavailable

__all__ = ["Outcome", "Result", "Subject", "Task", "collect", "run"]

ROOT = Path(__file__).parents[1]

TRACKER_LOOKS = 40

LEAVING = 30.0
"""Seconds that a shard may take to exit once its tests are done."""


class Subject(Enum):
    """What the tests are run against."""

    STANDARD = "standard"
    ALIAS = "alias"
    """A program that puts up the alias itself; the programs that its tests start do not."""
    RUNNER = "runner"
    """``python -m tines``, and the same for every program that its tests start."""


class Outcome(Enum):
    """How a test ended."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    HANG = "hang"
    CRASH = "crash"
    MISSING = "missing"


@dataclass(frozen=True)
class Result:
    """How a test ended, and what there is to say about it."""

    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Task:
    """What is run."""

    subject: Subject
    suite: Suite
    method: str
    limit: float = 60.0


class _Ended(Exception):
    """The shard said nothing more: it hangs (``limit`` reached) or is gone."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


async def collect(task: Task) -> list[str]:
    """Return the names of the tests, in order.

    Raises:
        Unavailable: they are not installed with this interpreter.
        RuntimeError: they cannot be loaded; with what the process wrote.
    """
    shard = _Shard(task, ())
    names: list[str] = []
    try:
        async for event in shard.events():
            if event["event"] == "unavailable":
                raise Unavailable(event["why"])
            names = event.get("tests", [])
            break
    except _Ended as ended:
        raise RuntimeError(
            f"the tests do not load ({ended.outcome.value}):\n{shard.said()}"
        ) from None
    finally:
        await shard.end()
    return names


async def run(
    task: Task, names: Sequence[str], *, shards: int, jobs: asyncio.Semaphore
) -> dict[str, Result]:
    """Run tests; return what became of each.

    Args:
        task: Of which suite, against what.
        names: Their names.
        shards: Into how many processes they are divided. A class stays in one.
        jobs: How many run at the same time.
    """
    groups = _divide(names, shards)
    results: dict[str, Result] = {}

    async def work(group: list[str]) -> None:
        async with jobs:
            results.update(await _run_group(task, group))

    await asyncio.gather(*map(work, groups))
    return {name: results[name] for name in names}


def _divide(names: Sequence[str], shards: int) -> list[list[str]]:
    classes: dict[str, list[str]] = {}
    for name in names:
        classes.setdefault(name.rpartition(".")[0], []).append(name)
    groups: list[list[str]] = [[] for _ in range(min(shards, len(classes)))]
    for tests in sorted(classes.values(), key=len, reverse=True):
        min(groups, key=len).extend(tests)
    return groups


async def _run_group(task: Task, names: list[str]) -> dict[str, Result]:
    results: dict[str, Result] = {}
    left = names
    while left:
        before = len(results)
        results.update(await _run_once(task, left))
        left = [name for name in left if name not in results]
        if len(results) == before:
            results.update((name, Result(Outcome.MISSING, "was not run")) for name in left)
            break
    return results


async def _run_once(task: Task, names: list[str]) -> dict[str, Result]:
    """Run tests in one process until they are through or it hangs or dies."""
    results: dict[str, Result] = {}
    broken: list[dict[str, Any]] = []
    current: str | None = None
    shard = _Shard(task, names)
    try:
        async for event in shard.events():
            kind = event["event"]
            if kind == "begin":
                current = event["test"]
            elif kind == "end":
                results[event["test"]] = Result(Outcome(event["outcome"]), event["detail"])
                current = None
            elif kind == "broken":
                broken.append(event)
            elif kind == "done":
                break
        if not await shard.left():
            # Blamed on the last test, as nobody knows better.
            results[names[-1]] = Result(Outcome.HANG, f"does not exit:\n{shard.said()}")
    except _Ended as ended:
        if ended.outcome is Outcome.HANG:
            await shard.ask_for_stacks()
        culprit = current or next((name for name in names if name not in results), names[-1])
        results[culprit] = Result(ended.outcome, shard.said())
        return results
    finally:
        await shard.end()
    for name in names:
        if name not in results:
            results[name] = _explain(name, broken)
    return results


def _explain(name: str, broken: list[dict[str, Any]]) -> Result:
    """Say why a test was not run: because of its class, or its module."""
    case = name.split(".")[-2]
    for event in broken:
        if case in event["what"] or "Module" in event["what"]:
            return Result(Outcome.SKIP if event.get("skipped") else Outcome.FAIL, event["detail"])
    return Result(Outcome.MISSING, "was not run")


class _Shard:
    """One process, and what it tells."""

    def __init__(self, task: Task, names: Sequence[str]) -> None:
        self._task = task
        self._names = names
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._process: asyncio.subprocess.Process | None = None

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Start it, and iterate over what it tells."""
        reader = await self._start()
        process = self._process
        assert process is not None
        gone = asyncio.ensure_future(process.wait())
        try:
            while True:
                line = asyncio.ensure_future(reader.readline())
                # Its children may hold the pipe longer than it lives, so the end of the pipe says
                # nothing; its own end does, once the pipe is empty.
                done, _ = await asyncio.wait(
                    {line, gone}, timeout=self._task.limit, return_when=asyncio.FIRST_COMPLETED
                )
                if line not in done:
                    await asyncio.wait({line}, timeout=1.0 if done else 0)
                if not line.done() or not line.result():
                    line.cancel()
                    raise _Ended(Outcome.CRASH if gone.done() or line.done() else Outcome.HANG)
                yield json.loads(line.result())
        finally:
            gone.cancel()
            self._transport.close()

    async def _start(self) -> asyncio.StreamReader:
        read, write = os.pipe()
        task = self._task
        path = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        self._directory = tempfile.TemporaryDirectory(prefix="compat-")
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(("-m", "tines") if task.subject is Subject.RUNNER else ()),
                "-m",
                "compat.shard",
                task.subject.value,
                task.suite.value,
                task.method,
                str(write),
                stdin=asyncio.subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                pass_fds=[write],
                cwd=self._directory.name,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
                start_new_session=True,
            )
        finally:
            os.close(write)
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(self._names).encode())
        self._process.stdin.close()
        reader = asyncio.StreamReader(limit=2**24)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb")
        )
        return reader

    async def left(self) -> bool:
        """Wait until it has exited; ``False`` if it does not."""
        assert self._process is not None
        try:
            await asyncio.wait_for(self._process.wait(), LEAVING)
        except asyncio.TimeoutError:
            await self.ask_for_stacks()
            return False
        return True

    async def ask_for_stacks(self) -> None:
        """Have it write the stacks of its threads, upon which it dies."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGABRT)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5)

    def said(self) -> str:
        """Return the end of what it wrote."""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - 20_000))
        return self._output.read().decode(errors="replace")

    async def end(self) -> None:
        """Kill what is left of it, with all its children.

        Its resource tracker ignores ``SIGTERM`` and is given the time to clean up behind the rest.
        Nothing tells when a process group is empty, so that is looked at.
        """
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if self._process.returncode is None:
                    self._process.kill()
                os.killpg(self._process.pid, signal.SIGTERM)
                await self._process.wait()
                for _ in range(TRACKER_LOOKS):
                    os.killpg(self._process.pid, 0)
                    await asyncio.sleep(0.05)
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            self._directory.cleanup()
        self._output.close()
