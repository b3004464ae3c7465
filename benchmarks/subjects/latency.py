"""Ping-pong over two queues, and what a blocked reader costs."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.calibrate import clock, median_us
from benchmarks.crew import Crew
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant, expect
from benchmarks.numbers import percentile
from benchmarks.peers.contract import Peer
from benchmarks.subjects import SAME_CORE

__all__ = ["SUBJECT"]

WARM_UP = 200


def echo(there: Any, back: Any, _seconds: float, _pause: float) -> None:
    """Send back whatever comes, until ``None``."""
    while (message := there.get()) is not None:
        back.put(message)


def ask(there: Any, back: Any, seconds: float, pause: float) -> list[float]:
    """Send numbers and wait for each to come back; return how long each took."""
    number = 0

    def round_trip() -> float:
        nonlocal number
        number += 1
        if pause:
            time.sleep(pause)
        start = clock()
        there.put(number)
        answer = back.get()
        duration = clock() - start
        expect(answer == number, f"{number} was sent and {answer!r} came back")
        return duration

    for _ in range(WARM_UP if not pause else 10):
        round_trip()
    deadline = clock() + seconds
    durations = []
    while clock() < deadline:
        durations.append(round_trip())
    there.put(None)
    return durations


def blocked_reader(queue: Any, seconds: float) -> float:
    """Wait for one message; return the CPU seconds that this took, all threads counted."""
    before = time.process_time()
    expect(queue.get() == "wake up", "something else was received")
    return time.process_time() - before


def late_writer(queue: Any, seconds: float) -> float:
    """Put one message after a while."""
    time.sleep(seconds)
    queue.put("wake up")
    return 0.0


def measure(peer: Peer, params: Params) -> Metrics:
    """Round trips in microseconds, or the reader's CPU time in milliseconds."""
    if params["idle"]:
        queue = peer.queue()
        with Crew(peer, [(blocked_reader, (queue,)), (late_writer, (queue,))]) as crew:
            cpu = crew.phase(params["seconds"]).answers[0]
        return {"cpu": cpu * 1e3 * 10 / params["seconds"]}
    there, back = peer.queue(), peer.queue()
    roles = [(echo, (there, back)), (ask, (there, back))]
    with Crew(peer, roles) as crew:
        durations = crew.phase(params["seconds"], params["pause"]).answers[1]
    return {
        "median": median_us(durations),
        "p99": percentile(durations, 0.99) * 1e6,
        "round trips": len(durations),
    }


ROUND_TRIP = (Metric("median", "us", "lower"), Metric("p99", "us", "lower"))
NEEDS = frozenset({Feature.SHARED_QUEUE})

SUBJECT = Subject(
    name="latency",
    title="Latency",
    text="One number to another process and back over two queues, one round trip at a time.",
    variants=(
        Variant(
            name="ping-pong",
            title="round trip, one after the other",
            metrics=ROUND_TRIP,
            needs=NEEDS,
            params={"idle": False, "seconds": 1.0, "pause": 0.0},
            quick={"seconds": 0.3},
            limits=("futex", "pipe"),
        ),
        Variant(
            name="paced",
            title="round trip after 2 ms of quiet",
            metrics=ROUND_TRIP,
            needs=NEEDS,
            params={"idle": False, "seconds": 1.0, "pause": 0.002},
        ),
        Variant(
            name="idle",
            title="CPU time of a reader that is blocked for 10 s",
            metrics=(Metric("cpu", "ms", "lower"),),
            needs=NEEDS,
            params={"idle": True, "seconds": 10.0},
            leave_out=("stdlib_simple", "torch", *SAME_CORE),
            rounds=1,
        ),
    ),
    measure=measure,
)
