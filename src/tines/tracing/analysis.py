"""Where the time of a run went, and what to change: from a trace file to a :class:`Report`.

Everything is worked out from the file alone. Sums come from the totals of each process, which are right
whatever was dropped; what is said about single tasks is about those that were kept.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import IO

from tines.tracing import advice
from tines.tracing.events import Event
from tines.tracing.export import FORMAT
from tines.tracing.report import (
    Failure,
    FunctionShare,
    PoolShare,
    ProcessEnd,
    Report,
    SlowTask,
    WorkerShare,
)

__all__ = ["NotATrace", "analyse", "read"]

MICRO = 1e-6
SLOWEST = 10


class NotATrace(ValueError):
    """A file is not what ``tines.trace()`` writes."""


def read(path: Path) -> dict[str, object]:
    """Read a trace file.

    Raises:
        NotATrace: it is none, or not one of tines, or cut off.
        OSError: it cannot be read.
    """
    try:
        with _opened(path) as file:
            content = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise NotATrace(f"{path} is not JSON, or was cut off: {error}") from None
    other = content.get("otherData") if isinstance(content, dict) else None
    if not isinstance(other, dict) or other.get("producer") != "tines":
        raise NotATrace(f"{path} was not written by tines.trace(): only such files can be reported")
    if other.get("format") != FORMAT:
        raise NotATrace(
            f"{path} has format {other.get('format')!r}, and this version of tines reads {FORMAT}: "
            "report it with the version that wrote it"
        )
    return content  # type: ignore[no-any-return]


def _opened(path: Path) -> IO[str]:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"  # whatever it is called
    if packed:
        return gzip.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def analyse(content: dict[str, object]) -> Report:
    """Work out the report of what :func:`read` returned.

    Raises:
        NotATrace: somebody has changed the file.
    """
    try:
        return _Analysis(content).report()
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        # Not checked entry by entry beforehand: a trace may have millions.
        raise NotATrace(
            "the trace is not as tines.trace() wrote it, and cannot be reported: record it again "
            f"({type(error).__name__}: {error})"
        ) from error


class _Analysis:
    def __init__(self, content: Event) -> None:
        self._other = content["otherData"]
        self._by_category: dict[str, list[Event]] = defaultdict(list)
        for event in content["traceEvents"]:
            if event["ph"] in "Xi":
                self._by_category[event["cat"]].append(event)
        # Runs that have no end of their own are not in the totals: seconds, tasks, items.
        self._open_raised = 0
        self._open: dict[int, list[float]] = defaultdict(lambda: [0.0, 0, 0])
        for event in self._by_category["run"]:
            if event["args"].get("open"):
                seconds = event["dur"] * MICRO
                outcome = event["args"]["outcome"]
                done = outcome in ("returned", "raised")
                self._open_raised += outcome == "raised"
                items = event["args"]["items"] if done else 0
                sums = self._open[event["pid"]]
                self._open[event["pid"]] = [sums[0] + seconds, sums[1] + done, sums[2] + items]

    def report(self) -> Report:
        """Put it together."""
        processes = self._other["processes"]
        runs = self._by_category["run"]
        orders = [event["name"] for event in self._by_category["order"]]
        report = Report(
            seconds=self._other["duration_us"] * MICRO,
            processes=len(processes),
            workers=tuple(self._worker(each) for each in processes if each["role"] == "worker"),
            pools=tuple(self._pool(each) for each in self._other["pools"]),
            functions=tuple(_functions(runs)),
            slowest=tuple(map(_slow_task, sorted(runs, key=_duration, reverse=True)[:SLOWEST])),
            deaths=tuple(self._deaths()),
            retries=len(self._by_category["retry"]),
            timeouts=orders.count("timeout"),
            cancelled=orders.count("cancel"),
            raised=sum(_total(each, "raised") for each in processes) + self._open_raised,
            dropped=sum(each["dropped"]["records"] for each in processes),
            cores=self._other["cores"],
            failures=tuple(
                Failure(each["call"], each["error"], each["traceback"], each["pid"])
                for each in self._other["failures"]
            ),
            notes=tuple(self._notes()),
        )
        return replace(report, advice=tuple(advice.give(report)))

    def _worker(self, process: Event) -> WorkerShare:
        pid = process["pid"]
        boots = [event for event in self._by_category["start-up"] if event["pid"] == pid]
        startup = sum(event["dur"] for event in boots)
        last_wait = sum(
            event["dur"]
            for event in self._by_category["wait"]
            if event["pid"] == pid and event["args"].get("last")
        )
        pickling = sum(_total(process, name) for name in ("deserialise", "serialise", "parts"))
        return WorkerShare(
            pid=pid,
            name=process["name"],
            pool=process["pool"],
            slot=process["slot"],
            ready=max(0.0, process["ended_us"] - process["began_us"] - startup) * MICRO,
            startup=startup * MICRO,
            tasks=self._tasks(process),
            items=self._items(process),
            busy=_total(process, "run") * 1e-9 + self._open[pid][0],
            pickling=pickling * 1e-9,
            waiting=_total(process, "wait") * 1e-9 + last_wait * MICRO,
            end=process["how"],
            cpu=_total(process, "cpu") * 1e-9 + self._open[pid][0],
            core_wait=process["core_wait_us"] * MICRO,
        )

    def _pool(self, pool: Event) -> PoolShare:
        processes = self._other["processes"]
        workers = [each for each in processes if each["pool"] == pool["pool"]]
        (owner,) = (each for each in processes if each["pid"] == pool["pid"])
        pids = {worker["pid"] for worker in workers}
        runs = [event for event in self._by_category["run"] if event["pid"] in pids]
        queued = [event["args"]["queued_us"] for event in runs if "queued_us" in event["args"]]
        return PoolShare(
            pool=pool["pool"],
            pid=pool["pid"],
            transport=pool["transport"],
            processes=pool["processes"],
            workers=len(workers),
            tasks=sum(map(self._tasks, workers)),
            items=sum(map(self._items, workers)),
            active=_covered(_times(runs)) * MICRO,
            ideal=sum(map(_duration, runs)) * MICRO / pool["processes"],
            tail=_tail(runs) * MICRO,
            pickling=_total(owner, "pickling") * 1e-9,
            sending=_total(owner, "sending") * 1e-9,
            sent_bytes=_total(owner, "sent_bytes"),
            received_bytes=_total(owner, "received_bytes"),
            queued=sum(queued) / len(queued) * MICRO if queued else 0.0,
            elapsed=_covered(list(self._pending(pool["pool"], workers, runs))) * MICRO,
            uses=tuple(pool["uses"]),
        )

    def _pending(
        self, pool: int, workers: list[Event], runs: list[Event]
    ) -> Iterable[tuple[float, float]]:
        """Yield from when until when there was something to do for a pool."""
        earliest = float("inf")
        sent: dict[int, float] = {}
        for event in self._by_category["submit"]:
            if event["args"].get("pool") == pool:
                sent[event["args"]["task"]] = event["ts"]
        for event in self._by_category["result"]:
            begun = sent.get(event["args"]["task"]) if event["args"].get("pool") == pool else None
            if begun is not None:
                earliest = min(earliest, begun)
                yield begun, event["ts"] + event["dur"]
        for begun, ended in _times(runs):
            earliest = min(earliest, begun)
            yield begun, ended
        # What came before was dropped, but not when that began.
        firsts = [each["first_us"] for each in workers if each["first_us"] is not None]
        if firsts and any(each["dropped"]["tasks"] for each in workers):
            yield min(firsts), earliest

    def _tasks(self, process: Event) -> int:
        return _total(process, "tasks") + int(self._open[process["pid"]][1])

    def _items(self, process: Event) -> int:
        return _total(process, "items") + int(self._open[process["pid"]][2])

    def _deaths(self) -> Iterable[ProcessEnd]:
        for event in self._by_category["death"]:
            args = event["args"]
            yield ProcessEnd(args["pid"], args["name"], args["how"], event["ts"] * MICRO)

    def _notes(self) -> Iterable[str]:
        yield from (f"not traced: {text}" for text in self._other["untraced"])
        if self._other["unreadable"]:
            yield f"{self._other['unreadable']} processes left nothing that can be read"
        torn = sum(each["torn"] for each in self._other["processes"])
        if torn:
            yield f"{torn} records were left half written by processes that were killed"
        if not self._other["whole"]:
            yield "this is a part of a longer recording"


def _total(process: Event, name: str) -> int:
    return int(process["kept"][name] + process["dropped"][name])


def _duration(event: Event) -> float:
    return float(event["dur"])


def _functions(runs: list[Event]) -> list[FunctionShare]:
    by_name: dict[str, list[Event]] = defaultdict(list)
    for event in runs:
        by_name[event["name"]].append(event)
    shares = [
        FunctionShare(
            name,
            len(events),
            sum(event["args"]["items"] for event in events),
            sum(map(_duration, events)) * MICRO,
            max(map(_duration, events)) * MICRO,
        )
        for name, events in by_name.items()
    ]
    return sorted(shares, key=lambda share: share.seconds, reverse=True)


def _slow_task(event: Event) -> SlowTask:
    args = event["args"]
    return SlowTask(
        function=event["name"],
        seconds=event["dur"] * MICRO,
        items=args["items"],
        pid=event["pid"],
        at=event["ts"] * MICRO,
        attempt=args.get("attempt", 1),
        outcome=args["outcome"],
        call=args.get("call", ""),
    )


def _times(events: list[Event]) -> list[tuple[float, float]]:
    return [(event["ts"], event["ts"] + event["dur"]) for event in events]


def _covered(times: list[tuple[float, float]]) -> float:
    """Return how much time lies in at least one of these spans."""
    covered = 0.0
    until = float("-inf")
    for begin, end in sorted(times):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered


def _tail(runs: list[Event]) -> float:
    """Return how long before the end the first worker had run its last task."""
    last: dict[int, float] = {}
    for event in runs:
        # By slot: a worker that was replaced has not run out of work.
        slot = event["args"]["slot"]
        last[slot] = max(last.get(slot, 0.0), event["ts"] + event["dur"])
    return max(last.values()) - min(last.values()) if last else 0.0
