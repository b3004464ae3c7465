"""Many small buffers in one message: packed, in order, each one's own, and given back."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest

import tines
from support.waiting import wait_for
from tines.transport import choice, named
from tines.transport.contract import Transport
from tines.wire import pickling

numpy: Any = pytest.importorskip("numpy", reason="numpy is not installed")

KILOBYTE = 1024
PACK = 256 * KILOBYTE

SIZES = {
    "few small": [600] * 5,
    "some small": [600] * 60,
    "many small": [600] * 5000,
    "just below a block": [15 * KILOBYTE] * 200,
    "just above one": [20 * KILOBYTE] * 1500,
    "small and large in turn": [3 * KILOBYTE, 300 * KILOBYTE] * 20,
    "more large ones than a message has blocks": [70 * KILOBYTE, 0, 800] * 1200,
    "of every size": [n * 37 % 40_000 for n in range(400)],
    "empty among others": [0, 20_000] * 30,
}


def arrays(sizes: list[int]) -> list[Any]:
    return [numpy.full(size, number % 251, "u1") for number, size in enumerate(sizes)]


def same(received: list[Any], sizes: list[int]) -> bool:
    return [len(array) for array in received] == sizes and all(
        (array == number % 251).all() for number, array in enumerate(received)
    )


def over(transport: Transport, obj: Any) -> Any:
    queue = tines.Queue(transport=transport.name)
    queue.put(obj)
    received = queue.get()
    queue.close()
    return received


def ring() -> Any:
    if choice().name != "ring":
        pytest.skip(f"the native core is not used: {choice().reason}")
    return named("ring")


def held() -> int:
    """Blocks of the program that somebody holds."""
    from tines.transport.segments import program

    return program.home().census()["held"]


@pytest.mark.parametrize("sizes", SIZES)
def test_they_arrive_as_they_went(transport: Transport, sizes: str) -> None:
    received = over(transport, arrays(SIZES[sizes]))
    assert same(received, SIZES[sizes])
    for array in received:
        array[:] = 252
    assert all((array == 252).all() for array in received), "one is not another's memory"


def test_what_is_read_only_stays_so(transport: Transport) -> None:
    sent = arrays([10_000] * 20)
    for array in sent[::2]:
        array.flags.writeable = False
    received = over(transport, sent)
    assert [array.flags.writeable for array in received] == [False, True] * 10


@pytest.mark.parametrize("count", [10, 10_000])
def test_a_few_stay_in_the_pickle_and_many_do_not(count: int) -> None:
    ring()
    _, data, buffers = pickling.encode(arrays([1000] * count))
    assert len(buffers) == max(0, count - 17), "the first 16 KB of small ones are in the pickle"
    assert len(data) < 20 * KILOBYTE + 150 * count


def test_by_value_they_are_packed_too() -> None:
    ring()
    values = arrays([1000] * 500)
    _, _, buffers = pickling.encode(lambda: values)
    assert len(buffers) == 500 - 17


def test_what_is_kept_of_a_message_keeps_one_pack() -> None:
    transport = ring()
    sizes = [10_000] * 1000
    before = held()
    received = over(transport, arrays(sizes))
    packs = held() - before
    assert 10_000 * 1000 / PACK <= packs <= 10_000 * 1000 / PACK * 4 / 3 + 1
    kept = received[500]
    del received
    wait_for(lambda: held() - before == 1)
    assert (kept == 500 % 251).all()
    del kept
    wait_for(lambda: held() == before)


def test_a_large_message_has_packs_that_it_has_room_for() -> None:
    channel = ring().channel()
    before = held()
    sizes = [63 * KILOBYTE] * 5000  # 1,250 packs of a quarter of a megabyte
    channel.send(b"", [memoryview(bytes(size)) for size in sizes])
    _, _, _, buffers = channel.recv(0)
    assert held() - before < 1000
    assert [len(buffer) for buffer in buffers] == sizes


def test_the_sender_and_a_child_see_nothing_of_what_is_written() -> None:
    sent = arrays([5000] * 100)
    received = over(ring(), sent)
    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            fine = same(received, [5000] * 100)
            for array in received:
                array[:] = 1
            fine = fine and all((array == 1).all() for array in received)
            os.write(tells, b"y" if fine else b"n")
        finally:
            os._exit(0)
    os.close(tells)
    with os.fdopen(told, "rb") as answer:
        assert answer.read() == b"y"
    os.waitpid(pid, 0)
    assert same(received, [5000] * 100)
    for array in received:
        array[:] = 2
    assert same(sent, [5000] * 100)


def test_queues_among_them(transport: Transport) -> None:
    """What has to have a block of its own comes between what is packed."""
    inner = [tines.Queue(transport=transport.name) for _ in range(30)]
    for number, queue in enumerate(inner):
        queue.put(number)
    mixed = [part for pair in zip(inner, arrays([2000] * 30)) for part in pair]
    received = over(transport, mixed)
    assert [queue.get() for queue in received[::2]] == list(range(30))
    assert same(received[1::2], [2000] * 30)


def total(arrays: list[Any], item: int) -> int:
    return int(sum(array.sum() for array in arrays)) + item


def double(arrays: list[Any]) -> list[Any]:
    return [array * 2 for array in arrays]


def test_as_arguments_results_and_constants(transport: Transport) -> None:
    values = [numpy.ones(1000, "u1") for _ in range(300)]
    with tines.Pool(1, transport=transport) as pool:
        assert all((array == 2).all() for array in pool.apply(double, (values,)))
        bound = partial(total, values)
        assert pool.map(bound, range(3)) == [300_000, 300_001, 300_002]
        values[7][:] = 0
        assert pool.map(bound, range(3)) == [299_000, 299_001, 299_002]


def put_total(queue: Any, arrays: list[Any]) -> None:
    queue.put(total(arrays, 0))


def test_as_arguments_of_a_process(method: str) -> None:
    context = tines.get_context(method)
    queue = context.Queue()
    process = context.Process(
        target=put_total, args=(queue, [numpy.ones(3000, "u1")] * 3 + arrays([1000] * 300))
    )
    process.start()
    assert queue.get(timeout=60) == 9000 + sum(1000 * (number % 251) for number in range(300))
    process.join()
