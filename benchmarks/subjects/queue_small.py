"""Small tuples through one queue: messages per second.

Each producer ends with one ``None`` and each consumer stops at its first. As messages of one
producer stay in order, the last ``None`` comes after everything else, so consumers drain the
queue, and what was lost or came twice shows in the count or the sum.
"""

from __future__ import annotations

from typing import Any

from benchmarks.calibrate import repeats
from benchmarks.crew import Crew
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant, expect
from benchmarks.peers.contract import Peer

__all__ = ["SUBJECT"]

WORD = "abc"
BATCH = 100
TRIAL = 10_000


def produce(queue: Any, index: int, producers: int, count: int) -> None:
    """Put every number below ``count`` that is this producer's."""
    put = queue.put
    for number in range(index, count, producers):
        put((number, WORD))
    put(None)


def consume(queue: Any, _: int) -> tuple[int, int]:
    """Take until ``None``; return how many and their sum."""
    get = queue.get
    received = total = 0
    while (message := get()) is not None:
        number, word = message
        if word != WORD:
            expect(False, f"received {message!r}")
        received += 1
        total += number
    return received, total


def produce_batches(queue: Any, index: int, producers: int, count: int) -> None:
    """The same, ``BATCH`` with one call. One producer."""
    for start in range(0, count, BATCH):
        queue.put_many([(number, WORD) for number in range(start, min(start + BATCH, count))])
    queue.put_many([None])


def consume_batches(queue: Any, _: int) -> tuple[int, int]:
    """The same, as many as there are with one call. One consumer."""
    received = total = 0
    while True:
        for message in queue.get_many():
            if message is None:
                return received, total
            number, word = message
            if word != WORD:
                expect(False, f"received {message!r}")
            received += 1
            total += number


def measure(peer: Peer, params: Params) -> Metrics:
    """Messages per second from the first ``put`` to the last ``get``."""
    pairs = params["pairs"]
    queue = peer.queue()
    put, take = (produce_batches, consume_batches) if params["batches"] else (produce, consume)
    roles: list[Any] = [(take, (queue,)) for _ in range(pairs)]
    roles += [(put, (queue, index, pairs)) for index in range(pairs)]
    with Crew(peer, roles) as crew:

        def run(count: int) -> float:
            phase = crew.phase(count)
            answers = phase.answers[:pairs]
            received = sum(answer[0] for answer in answers)
            total = sum(answer[1] for answer in answers)
            expect(received == count, f"{count} messages were put and {received} received")
            expect(total == count * (count - 1) // 2, "what was received is not what was put")
            return phase.seconds

        count = repeats(TRIAL, run(TRIAL), params["seconds"], least=TRIAL, most=5_000_000)
        return {"rate": count / run(count), "messages": count}


RATE = (Metric("rate", "messages/s", "higher"),)


def _variant(name: str, title: str, pairs: int, batches: bool, *needs: Feature) -> Variant:
    return Variant(
        name=name,
        title=title,
        metrics=RATE,
        needs=frozenset(needs),
        params={"pairs": pairs, "batches": batches, "seconds": 1.0},
        quick=None if batches else {"seconds": 0.3},
        limits=("pickle",),
    )


SUBJECT = Subject(
    name="queue_small",
    title="Queue, small messages",
    text='Tuples `(i, "abc")` with plain `put` and `get`; every one is pickled and unpickled.',
    variants=(
        _variant("1-1", "one producer, one consumer", 1, False, Feature.QUEUE),
        _variant("4-4", "four producers, four consumers", 4, False, Feature.SHARED_QUEUE),
        _variant("batches", "one to one, 100 messages a call", 1, True, Feature.BATCHES),
    ),
    measure=measure,
)
