"""No memory left, garbage in shared memory, no descriptors left: an error each time, and the ring goes on."""

from __future__ import annotations

import mmap
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tines.errors import TransportError

native = pytest.importorskip("tines._native")
ring_transport = pytest.importorskip("tines.transport.ring")

SMALL = 64 << 20


@pytest.fixture
def segment() -> Iterator[Any]:
    yield native.create_segment(SMALL)


def start(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def finish(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert not os.WIFSIGNALED(status), signal.Signals(os.WTERMSIG(status)).name
    assert os.WEXITSTATUS(status) == 0


def in_child(work: Callable[[], None]) -> None:
    """Do something in a child, which must end well."""
    finish(start(work))


@pytest.mark.parametrize("limit", ["RLIMIT_FSIZE", "RLIMIT_AS"])
@pytest.mark.parametrize("wanted", ["auto", "require"])
def test_a_limit_that_forbids_shared_memory_is_named(limit: str, wanted: str) -> None:
    program = f"""
import resource, tines
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
value = used + (48 << 20) if {limit!r} == "RLIMIT_AS" else 0
resource.setrlimit(resource.{limit}, (value, value))
try:
    queue = tines.Queue()
    queue.put("through a pipe")
    print(queue.get(), tines.transport.choice().reason)
except ImportError as error:
    print("ImportError", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TINES_NATIVE": wanted},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert ("through a pipe" if wanted == "auto" else "ImportError") in done.stdout
    assert f"{limit}, `ulimit" in done.stdout


@pytest.mark.parametrize("size", [100, 16_000, 200_000, 20_000_000])
def test_memory_that_runs_out_is_an_error_of_the_sender(segment: Any, size: int) -> None:
    ring = segment.ring(0, 0, 0)
    for _ in range(3):
        sent = 0
        with pytest.raises(MemoryError, match="max_bytes"):
            while True:
                ring.send(b"x" * size, (), 0, sent)
                sent += 1
        assert sent * size < SMALL
        assert ring.qsize() == sent
        assert [ring.recv(0)[1] for _ in range(sent)] == list(range(sent))
        assert ring.recv(0) is None
    assert segment.census()["sent"] == segment.census()["held"] == 0


def test_what_is_too_large_for_the_segment_is_refused_at_once(segment: Any) -> None:
    ring = segment.ring(0, 0, 0)
    with pytest.raises(MemoryError):
        ring.send(b"", [bytearray(SMALL)])
    assert ring.qsize() == 0
    assert segment.census()["held"] == 0


def test_memory_of_a_dead_process_is_used_before_giving_up(segment: Any) -> None:
    """What a killed process held is reclaimed by the very ``send`` that needs it."""
    ring = segment.ring(0, 0, 0)
    big = bytes(25 << 20)
    for _ in range(3):
        ring.send(big)

        def take_and_die() -> None:
            kept = ring.recv(0)
            os.kill(os.getpid(), signal.SIGKILL)
            del kept

        with pytest.raises(AssertionError, match="SIGKILL"):
            in_child(take_and_die)
    ring.send(big)
    assert bytes(ring.recv(0)[2]) == big


def test_no_descriptors_left_kills_nobody(segment: Any) -> None:
    """Whether a process lives is read from /proc; without a descriptor it counts as alive."""
    ring = segment.ring(0, 0, 0)
    kept = segment.block(b"mine" * 5000)

    def sweep_without_descriptors() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        assert segment.sweep(0) == 0
        assert segment.census()["held"] == 1
        ring.send(b"x" * 40_000, tag=5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    in_child(sweep_without_descriptors)
    assert bytes(kept) == b"mine" * 5000
    assert ring.recv(1)[1] == 5


def test_a_child_without_a_ring_is_a_process_of_its_own(segment: Any) -> None:
    """What a forked child makes is its own, also where its parent had nothing it could inherit."""

    def make_and_die() -> None:
        kept = segment.block(b"of the child")
        os.kill(os.getpid(), signal.SIGKILL)
        del kept

    with pytest.raises(AssertionError, match="SIGKILL"):
        in_child(make_and_die)
    segment.sweep(0)
    assert segment.census()["held"] == 0


def test_joining_twice_waits_for_the_end(segment: Any) -> None:
    """Several that join at once do not wake each other too early."""
    ring = segment.ring(0, 0, 0)
    ring.send(b"")
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(ring.join(0.3))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [False] * 4
    ring.task_done()
    assert ring.join(0)


def test_received_bytes_stay_apart_after_a_fork(segment: Any) -> None:
    """Neither side sees what the other writes, also of blocks received by a child that forks again."""
    ring, back = segment.ring(0, 0, 0), segment.ring(0, 0, 0)
    ring.send(b"", [b"a" * 20_000])
    mine = [ring.recv(0)[3][0]]

    def child() -> None:
        assert back.recv(10) is not None
        ring.send(b"", [b"b" * 20_000])
        mine.append(ring.recv(0)[3][0])  # in the same block: the parent has let go of it

        def grandchild() -> None:
            for buffer in mine:
                memoryview(buffer)[:] = b"c" * 20_000

        in_child(grandchild)
        assert [bytes(buffer) for buffer in mine] == [b"a" * 20_000, b"b" * 20_000]

    pid = start(child)
    mine.clear()
    back.send(b"go")
    finish(pid)


def test_what_is_shared_lives_as_long_as_anybody_reads_it(segment: Any) -> None:
    """Neither its maker's end nor a fork changes what a reader sees; a stale handle opens nothing."""
    made = segment.block(b"a" * 20_000)
    handle = made.index
    read = [segment.private(handle)]
    del made
    ring = segment.ring(0, 0, 0)
    ring.send(b"", [b"b" * 20_000])
    assert bytes(read[0]) == b"a" * 20_000

    def reads_on() -> None:
        assert ring.recv(10) is not None  # the parent has let go of it
        ring.send(b"", [b"c" * 20_000])
        assert bytes(read[0]) == b"a" * 20_000
        memoryview(read[0])[:] = b"d" * 20_000

    assert ring.recv(0) is not None
    pid = start(reads_on)
    assert bytes(read[0]) == b"a" * 20_000
    read.clear()
    ring.send(b"")
    finish(pid)
    segment.sweep(0)
    with pytest.raises(TransportError, match="gone"):
        segment.private(handle)
    assert ring.recv(0) is not None
    again = segment.block(b"e" * 20_000)
    with pytest.raises(TransportError, match="gone"):
        segment.private(handle)
    del again
    assert segment.census()["held"] == 0


# Garbage.

PAGE = mmap.PAGESIZE
SLOTS = 16_384 * 16
DESCRIPTOR = 64


def descriptors_of(segment: Any) -> int:
    """Where the block descriptors begin: after one page of header, and the slots."""
    return PAGE + SLOTS


@pytest.mark.parametrize("seed", range(40))
def test_garbage_in_shared_memory_is_refused(seed: int) -> None:
    """Lengths, orders and places of blocks, and records, are written over; nothing crashes."""

    def receive_garbage() -> None:
        chance = random.Random(seed)
        segment = native.create_segment(SMALL)
        ring = segment.ring(0, 0, 1)
        for n in range(8):
            ring.send(b"p" * chance.choice((10, 5000, 60_000)), [b"b" * 30_000] * (n % 3), tag=n)
        used = sum(segment.census()[key] for key in ("free", "held", "sent", "chunks", "rings"))
        data = descriptors_of(segment) + (SMALL >> 16) * DESCRIPTOR
        for _ in range(6):
            if seed % 2:  # order, length or seq of a block
                field, size = chance.choice(((8, 4), (24, 8), (32, 8)))
                at = descriptors_of(segment) + chance.randrange(1, used) * DESCRIPTOR + field
            else:  # somewhere in the first chunk
                at, size = data + (1 << 16) + 8 * chance.randrange(1, 400), 8
            value = chance.choice((0, 1, 2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1)) % (
                1 << 8 * size
            )
            os.pwrite(segment.fd, value.to_bytes(size, "little"), at)
        for n in range(12):
            try:
                message = ring.recv(0)
                for buffer in message[3] if message else ():
                    bytes(buffer)
                ring.send(b"x" * 20_000, [b"y" * 20_000], tag=n)
            except (TransportError, ValueError, MemoryError):
                pass

    in_child(receive_garbage)
