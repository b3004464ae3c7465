"""Large messages through one queue, one to one: GB/s.

The payload is made before the workers are forked, so the consumer knows what it should be: in the
first phase it compares all of it, in the timed one its length and a sample spread over it. The
producer's own copy must be unchanged at the end, also when the consumer wrote into what it
received.

At most 256 MB (or two messages) are on the way, where the queue has a bound.
"""

from __future__ import annotations

from typing import Any

from benchmarks.calibrate import repeats
from benchmarks.crew import Crew
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant, expect
from benchmarks.peers.contract import Peer

__all__ = ["SUBJECT"]

KB, MB = 2**10, 2**20
ON_THE_WAY = 256 * MB
SAMPLES = 64


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


def consume(queue: Any, payload: Any, params: Params, count: int, thorough: bool) -> int:
    """Take ``count`` messages and check them; write into each where the variant says so."""
    arrays, write = params["kind"] == "numpy", params["write"]
    length, sample = len(payload), _sample(payload)
    received = 0
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
    return received


def _payload(kind: str, size: int) -> Any:
    import numpy

    array = numpy.arange(size // 8, dtype=numpy.float64)
    return array if kind == "numpy" else array.tobytes()


def measure(peer: Peer, params: Params) -> Metrics:
    """GB/s (10**9) over a sample's worth of messages, two at least, after two that warm up."""
    size = params["size"]
    on_the_way = max(2, min(64, ON_THE_WAY // size))
    queue = peer.queue(max_items=on_the_way, max_bytes=on_the_way * size)
    payload = _payload(params["kind"], size)
    roles = [(produce, (queue, payload, params)), (consume, (queue, payload, params))]
    with Crew(peer, roles) as crew:

        def run(count: int, thorough: bool) -> float:
            phase = crew.phase(count, thorough)
            expect(phase.answers[1] == count, "messages were lost")
            return phase.seconds

        run(2, True)
        trial = max(2, min(64, 32 * MB // size))
        most = max(4, params["bytes"] // size)
        seconds = run(trial, False)
        if seconds > params["seconds"]:  # a sample already; slow peers need a minute for more
            return {"rate": trial * size / seconds / 1e9, "messages": trial}
        count = repeats(trial, seconds, params["seconds"], least=4, most=most)
        return {"rate": count * size / run(count, False) / 1e9, "messages": count}


RATE = (Metric("rate", "GB/s", "higher"),)


def _variant(kind: str, size: int, quick: bool, write: bool = False) -> Variant:
    label = f"{size // MB} MB" if size >= MB else f"{size // KB} KB"
    what = "NumPy array" if kind == "numpy" else "bytes"
    return Variant(
        name=f"{kind} {label}" + (" written" if write else ""),
        title=f"{what} of {label}" + (", changed in place by the receiver" if write else ""),
        metrics=RATE,
        needs=frozenset({Feature.QUEUE}),
        params={"kind": kind, "size": size, "write": write, "seconds": 1.0, "bytes": 2**34},
        quick={"seconds": 0.3} if quick else None,
        limits=("memcpy", "memcpy_fresh"),
        seconds=90,
    )


SUBJECT = Subject(
    name="queue_bulk",
    title="Queue, large messages",
    text="One producer, one consumer. MB is 2**20 bytes, GB/s is 10**9 bytes a second.",
    variants=(
        _variant("bytes", 64 * KB, quick=False),
        _variant("bytes", 1 * MB, quick=True),
        _variant("bytes", 64 * MB, quick=False),
        _variant("numpy", 1 * MB, quick=True),
        _variant("numpy", 64 * MB, quick=True),
        _variant("numpy", 512 * MB, quick=False),
        _variant("numpy", 1 * MB, quick=False, write=True),
        _variant("numpy", 64 * MB, quick=False, write=True),
        _variant("numpy", 512 * MB, quick=False, write=True),
    ),
    measure=measure,
)
