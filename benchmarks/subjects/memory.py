"""What a pool and a queue hold in memory when one side is slower than the other. Linux only.

Memory of several processes is counted once: private pages (``Pss_Anon`` adds up), and shared memory
either as mapped (``Pss_Shmem``) or as allocated to the files in memory that they hold open,
whichever is more: pages may be in use without any process having them mapped at the moment.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.calibrate import clock
from benchmarks.crew import Crew
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Unsupported, Variant, expect
from benchmarks.peers.contract import Peer
from benchmarks.subjects import SAME_CORE, SAME_POOLS
from benchmarks.workloads import identity

__all__ = ["SUBJECT", "held"]

MB = 2**20
KB_PER_MB = 1024
BLOCK = 512
SETTLE = 2.0
"""Seconds after the last message, for whatever a library cleans up in the background."""


def _field(path: str, name: str) -> float:
    """Return one ``name: value kB`` line of a file below ``/proc``, in MB."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / KB_PER_MB
    raise Unsupported(f"{path} has no {name}")


def _files_in_memory(pids: list[int]) -> float:
    """MB allocated to the files in memory that any of the processes has open, each counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(entry).startswith(("/memfd:", "/dev/shm/")):
                    found = entry.stat()
                    sizes[found.st_dev, found.st_ino] = found.st_blocks * BLOCK
    return sum(sizes.values()) / MB


def held(pids: list[int]) -> float:
    """MB that these processes hold together."""
    rollups = [f"/proc/{pid}/smaps_rollup" for pid in pids]
    private = sum(_field(rollup, "Pss_Anon") for rollup in rollups)
    mapped = sum(_field(rollup, "Pss_Shmem") for rollup in rollups)
    return private + max(mapped, _files_in_memory(pids))


def _slow_consumer(peer: Peer, params: Params) -> Metrics:
    """How far the parent grows above what it was before ``imap``, and how far ahead it has read."""
    pulled = 0

    def items() -> Iterator[int]:
        nonlocal pulled
        for number in range(params["items"]):
            pulled += 1
            yield number

    pool = peer.pool(2)
    pool.map(identity, range(8), 1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _field("/proc/self/status", "VmRSS")
    results = pool.imap(identity, items())
    expect(next(results) == 0, "the first result is wrong")
    consumed = 1
    deadline = clock() + params["seconds"]
    while clock() < deadline:
        time.sleep(params["pause"])
        expect(next(results) == consumed, "results are not in order")
        consumed += 1
    growth = _field("/proc/self/status", "VmHWM") - before
    ahead = pulled - consumed
    pool.terminate()
    return {"growth": growth, "ahead": ahead, "consumed": consumed}


def _message(index: int, size: int) -> bytes:
    return bytes([index % 251]) * size


def _fill(queue: Any, step: str, count: int, size: int) -> int:
    if step == "fill":
        for index in range(count):
            queue.put(_message(index, size))
    return os.getpid()


def _drain(queue: Any, step: str, count: int, size: int) -> int:
    if step == "drain":
        for index in range(count):
            message = queue.get()
            wanted = index % 251
            expect(len(message) == size, "a message has the wrong length")
            expect({message[0], message[size // 2], message[-1]} == {wanted}, "a message is torn")
            del message
    return os.getpid()


def _burst(peer: Peer, params: Params) -> Metrics:
    """What stays ``SETTLE`` seconds after all was received; what there was at once, and before."""
    count, size = params["count"], params["size"]
    empty = held([os.getpid()])
    queue = peer.queue(max_bytes=count * size)
    made = held([os.getpid()]) - empty  # a library may take all its memory at once
    with Crew(peer, [(_fill, (queue,)), (_drain, (queue,))]) as crew:
        crew.phase("fill", 1, size)
        pids = [*crew.phase("drain", 1, size).answers, os.getpid()]
        before = held(pids) - made
        crew.phase("fill", count, size)
        full = held(pids)
        crew.phase("drain", count, size)
        at_once = held(pids)
        time.sleep(SETTLE)
        return {"held": held(pids) - before, "at once": at_once - before, "full": full - before}


def measure(peer: Peer, params: Params) -> Metrics:
    """Megabytes."""
    if sys.platform != "linux":
        raise Unsupported("reads /proc")
    return _burst(peer, params) if params["what"] == "burst" else _slow_consumer(peer, params)


SUBJECT = Subject(
    name="memory",
    title="Memory",
    text=(
        "`imap` over a generator of 2 million numbers whose results are consumed at under 1,000 "
        "a second for 10 s; and a queue that was filled with 2 GB and drained."
    ),
    variants=(
        Variant(
            name="imap",
            title="growth of the parent under a slow consumer",
            metrics=(Metric("growth", "MB", "lower"), Metric("ahead", "items ahead", "lower")),
            needs=frozenset({Feature.POOL}),
            params={"what": "imap", "items": 2_000_000, "seconds": 10.0, "pause": 0.001},
            seconds=60,
            leave_out=SAME_POOLS + SAME_CORE,
            rounds=1,
        ),
        Variant(
            name="burst",
            title="still held by a queue 2 s after 2 GB have passed",
            metrics=(Metric("held", "MB", "lower"), Metric("at once", "MB", "lower")),
            needs=frozenset({Feature.BURST}),
            params={"what": "burst", "count": 256, "size": 8 * MB},
            seconds=120,
        ),
    ),
    measure=measure,
)
