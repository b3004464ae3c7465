"""Large messages through one queue, one to one: GB/s.

The payload is made before the workers are forked, so the consumer knows what it should be: in the
first phase it compares all of it, in the timed one its length and a sample spread over it. The
producer's own copy must be unchanged at the end, also when the consumer wrote into what it
received.

At most 256 MB (or two messages) are on the way, where the queue has a bound.

A message in memory that was used before costs a tenth of one in pages that the system has yet to
provide. The first phase warms that up. Whether one more message's worth of pages is needed later is
a matter of chance, so the figure is the median of equal parts of the run: steady state, which
includes fresh pages where a library needs them for every message. The mean includes all.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks.calibrate import clock, repeats
from benchmarks.crew import Crew
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant, expect
from benchmarks.peers.contract import Peer

__all__ = ["SUBJECT"]

KB, MB = 2**10, 2**20
ON_THE_WAY = 256 * MB
SAMPLES = 64
PARTS = 8
WARM_UP = 4
"""Messages: as many of the largest as there are at once, two on the way and one at each end."""


def _sample(payload: Any) -> list[Any]:
    step = max(1, len(payload) // SAMPLES)
    return [*payload[::step], payload[-1]]


def produce(queue: Any, payload: Any, params: Params, count: int, _: bool) -> None:
    """Put the payload ``count`` times; afterwards it must still be what it was."""
    arrays = params["kind"] == "numpy"
    before = _sample(payload)
    for _number in range(count):
        queue.put(queue.wrap(payload) if arrays else payload)
    expect(_sample(payload) == before, "the sender's own object was changed")


def consume(
    queue: Any, payload: Any, params: Params, count: int, thorough: bool
) -> tuple[int, list[float]]:
    """Take ``count`` messages and check them; write into each where the variant says so.

    Returns how many were taken, and how long each part took.
    """
    arrays, write = params["kind"] == "numpy", params["write"]
    length, sample = len(payload), _sample(payload)
    part = _part(count)
    received = 0
    stamps = [clock()]
    for _ in range(count):
        message = queue.get()
        if arrays:
            message = queue.unwrap(message)
        expect(len(message) == length, "a message has the wrong length")
        expect(_sample(message) == sample, "a message is torn")
        if thorough:
            same = (message == payload).all() if arrays else message == payload
            expect(bool(same), "a message is not what was put")
        if write:
            message += 1.0
            expect(message[0] == payload[0] + 1.0, "a message cannot be written to")
        received += 1
        del message
        if received % part == 0:
            stamps.append(clock())
    return received, [end - start for start, end in itertools.pairwise(stamps)]


def _part(count: int) -> int:
    """How many of ``count`` messages make a part."""
    return max(1, count // PARTS)


def _payload(kind: str, size: int) -> Any:
    import numpy

    array = numpy.arange(size // 8, dtype=numpy.float64)
    return array if kind == "numpy" else array.tobytes()


@dataclass(frozen=True)
class _Sample:
    """``count`` messages: seconds for all of them, and for each part."""

    count: int
    seconds: float
    parts: list[float]

    def metrics(self, size: int) -> Metrics:
        typical = statistics.median(self.parts)
        return {
            "rate": _part(self.count) * size / typical / 1e9,
            "mean": self.count * size / self.seconds / 1e9,
            "messages": self.count,
        }


def measure(peer: Peer, params: Params) -> Metrics:
    """GB/s (10**9) over a sample's worth of messages, two at least."""
    size = params["size"]
    on_the_way = max(2, min(64, ON_THE_WAY // size))
    queue = peer.queue(max_items=on_the_way, max_bytes=on_the_way * size)
    payload = _payload(params["kind"], size)
    roles = [(produce, (queue, payload, params)), (consume, (queue, payload, params))]
    with Crew(peer, roles) as crew:

        def run(count: int, thorough: bool = False) -> _Sample:
            phase = crew.phase(count, thorough)
            received, parts = phase.answers[1]
            expect(received == count, "messages were lost")
            return _Sample(count, phase.seconds, parts)

        run(WARM_UP, thorough=True)
        target, most = params["seconds"], max(4, params["bytes"] // size)
        sample = run(max(2, min(64, 32 * MB // size)))
        # Twice, as the first estimate is of a queue that has hardly begun. Slow peers are done
        # before.
        for share in (0.2, 1.0):
            if sample.seconds < target * share:
                count = repeats(sample.count, sample.seconds, target * share, least=4, most=most)
                sample = run(count)
        return sample.metrics(size)


RATE = (Metric("rate", "GB/s", "higher"), Metric("mean", "GB/s", "higher"))


def _variant(
    kind: str, size: int, quick: bool = False, write: bool = False, everyone: bool = False
) -> Variant:
    label = f"{size // MB} MB" if size >= MB else f"{size // KB} KB"
    what = "NumPy array" if kind == "numpy" else "bytes"
    # So many messages in each part that one which is late does not decide it.
    seconds = 2.0 if size > ON_THE_WAY else 1.0
    return Variant(
        name=f"{kind} {label}" + (" written" if write else ""),
        title=f"{what} of {label}" + (", changed in place by the receiver" if write else ""),
        metrics=RATE,
        needs=frozenset({Feature.QUEUE}),
        params={"kind": kind, "size": size, "write": write, "seconds": seconds, "bytes": 2**36},
        quick={"seconds": 0.3} if quick else None,
        limits=("memcpy", "memcpy_fresh"),
        seconds=90,
        leave_out=() if everyone else ("*",),
    )


SUBJECT = Subject(
    name="queue_bulk",
    title="Queue, large messages",
    text=(
        "One producer, one consumer. The first figure is the median of eight parts of a run, after "
        "a warm-up; the mean is of all its messages, with those for which the system first had to "
        "provide memory. MB is 2**20 bytes, GB/s is 10**9 bytes a second."
    ),
    variants=(
        _variant("bytes", 64 * KB),
        _variant("bytes", 1 * MB, quick=True, everyone=True),
        _variant("bytes", 64 * MB),
        _variant("numpy", 1 * MB, quick=True),
        _variant("numpy", 64 * MB, quick=True, everyone=True),
        _variant("numpy", 512 * MB),
        _variant("numpy", 1 * MB, write=True),
        _variant("numpy", 64 * MB, write=True),
        _variant("numpy", 512 * MB, write=True),
    ),
    measure=measure,
)
