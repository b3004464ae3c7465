"""``Value``, ``Array`` and the raw ones go wherever a lock goes."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
from typing import Any

import pytest

import shared_children as children
import tines
from tines import transport
from tines.errors import EncodeError
from tines.queues import Queue

PATIENCE = 30.0

travels = pytest.mark.skipif(
    transport.choice().name != "ring", reason="by inheritance only on the pipe transport"
)


@travels
def test_as_arguments_of_tasks(method: str) -> None:
    context = tines.get_context(method)
    with context.Pool(2) as pool:
        number = context.Value("i", 5)
        pool.starmap(children.add, [(number, 1)] * 50, chunksize=1)
        assert number.value == 55
        array = context.Array("d", [1.0, 2.0])
        pool.apply(children.add_to_first, (array, 3))
        assert list(array) == [4.0, 2.0]
        raw = context.RawArray("q", 4)
        pool.apply(children.add_to_first, (raw, 2))
        assert list(raw) == [2, 0, 0, 0]
        for point in (
            context.RawValue(children.Point, 1, 2.0),
            context.Value(children.Point, 1, 2.0),
        ):
            pool.apply(children.move, (point, 4))
            assert (point.x, point.y) == (5, 2.0)


@travels
def test_as_results_and_through_queues(method: str) -> None:
    context = tines.get_context(method)
    with context.Pool(1) as pool:
        array = context.RawArray("i", [1])
        back = pool.apply(children.add_and_return, (array, 1))
        back[0] += 1
        assert (array[0], back[0]) == (3, 3)
        assert pool.apply(children.made_here, (7,)).value == 7
    post = context.Queue()
    post.put(array)
    process = context.Process(target=children.add_received, args=(post,))
    process.start()
    process.join(PATIENCE)
    assert array[0] == 4


def test_as_arguments_of_processes(method: str) -> None:
    context = tines.get_context(method)
    number, array = context.Value("i", 5), context.RawArray("i", [1, 2])
    for target, shared in ((children.add, number), (children.add_to_first, array)):
        process = context.Process(target=target, args=(shared, 2))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == 0
    assert (number.value, list(array)) == (7, [3, 2])


@travels
def test_the_memory_lives_while_it_is_under_way_and_no_longer() -> None:
    from tines.transport.segments import program

    segment = program.home()
    gc.collect()
    before = segment.census()["references"]
    post = Queue[Any](transport="ring")
    for value in range(20):
        post.put(tines.RawArray("i", [value] * 1000))
    for value in range(20):
        assert list(post.get(timeout=PATIENCE)) == [value] * 1000
    post.put(tines.RawArray("i", 10))
    del post
    gc.collect()
    assert segment.census()["references"] == before


@pytest.mark.parametrize("make", [lambda: tines.Value("i"), lambda: tines.RawArray("i", 3)])
def test_where_they_cannot_travel_it_is_said(make: Any) -> None:
    """The standard library's own words, and its type of error."""
    if transport.choice().name == "ring":
        make = lambda: multiprocessing.Value("i")  # noqa: E731
    with pytest.raises(RuntimeError, match="should only be shared between processes") as caught:
        tines.SimpleQueue().put(make())
    assert isinstance(caught.value, EncodeError)


def test_what_they_are() -> None:
    number = tines.Value("i", 3)
    assert isinstance(number, multiprocessing.sharedctypes.Synchronized)
    assert isinstance(number.get_obj(), ctypes.c_int)
    text = tines.Array("c", b"abc")
    text.value = b"ab"
    assert (text.raw, len(text)) == (b"ab\0", 3)
    assert len(tines.RawArray("i", 0)) == 0
    assert type(tines.Value("i", lock=False)) is ctypes.c_int
    lock = tines.Lock()
    assert tines.Value("i", lock=lock).get_lock() is lock
    with pytest.raises(AttributeError, match="acquire"):
        tines.Value("i", lock=3)
    whole = tines.RawArray("i", [1, 2, 3])
    apart = tines.sharedctypes.copy(whole)
    apart[0] = 9
    assert (whole[0], list(apart)) == (1, [9, 2, 3])
    memoryview(whole).cast("B").cast("i")[1] = 7
    assert whole[1] == 7


def test_a_ctypes_object_that_is_not_shared_travels_by_value() -> None:
    tines.RawValue("i", 1)
    if transport.choice().name != "ring":
        pytest.skip("as in the standard library, not after the first shared one of its type")
    post = tines.SimpleQueue()
    post.put(ctypes.c_int(5))
    assert post.get().value == 5
