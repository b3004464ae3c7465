"""What callers get wrong is told where they do it: by name, with what was given."""

from __future__ import annotations

import asyncio

import pytest

import tines
from tines import aio, transport
from tines.process import waiting


def square(number):
    return number * number


@pytest.fixture(scope="module")
def pool():
    with tines.Pool(1) as pool:
        yield pool


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: tines.Pool(1, None, 5), "initargs=5 is not iterable"),
        (lambda: tines.Pool(1, "abs"), "initializer must be a callable, not 'abs'"),
        (lambda: tines.Pool(1, transport="ring"), "transport='ring' is not a transport"),
        (lambda: tines.Pool(1, retry_on=5), "retry_on=5 must list exception types"),
        (lambda: tines.Pool(1, retry_on="OSError"), "retry_on='OSError' must list"),
        (lambda: tines.Pool(1, retrys=1), "no option 'retrys'; there are: retries, "),
        (lambda: tines.Pool(1, max_memroy=1), "no option 'max_memroy'; there are: max_memory, "),
        (lambda: tines.ProcessPoolExecutor("a"), "max_workers must be a whole number, not 'a'"),
        (lambda: tines.ProcessPoolExecutor(1.5), "max_workers must be a whole number, not 1.5"),
        (lambda: tines.ProcessPoolExecutor(1, "spawn"), "mp_context='spawn' is not a context"),
        (
            lambda: tines.ProcessPoolExecutor(1, retires=1),
            "no option 'retires'; there are: retries",
        ),
        (lambda: tines.ProcessPoolExecutor(1, initargs=5), "initargs=5 is not iterable"),
        (lambda: tines.ProcessPoolExecutor(1).map("x", [1]), "fn='x' is not callable"),
        (lambda: tines.ProcessPoolExecutor(1).map(square, 5), "iterables=5 is not iterable"),
        (lambda: tines.ProcessPoolExecutor(1).map(square, [1], chunksize="a"), "chunksize must be"),
        (lambda: tines.ProcessPoolExecutor(1).map(square, [1], timeout="a"), "timeout='a' is not"),
        (
            lambda: tines.Process(target=square, kwargs={1: 2}),
            "kwargs={1: 2}: 1 cannot be the name of an argument",
        ),
        (lambda: tines.wait(5), "processes=5 is not iterable"),
        (lambda: waiting.as_completed(5), "processes=5 is not iterable"),
        (lambda: tines.as_completed(5), "things=5 is not iterable"),
        (lambda: tines.as_completed([], timeout="x"), "timeout='x' is not a number of seconds"),
        (lambda: tines.Queue().put_many(5), "objects=5 is not iterable"),
        (lambda: tines.Queue().get_many("a"), "max_items must be a whole number, not 'a'"),
        (lambda: tines.trace(5), "path=5 is not a path"),
        (
            lambda: tines.trace("run.json", max_bytes="a"),
            "max_bytes must be a whole number, not 'a'",
        ),
    ],
)
def test_what_makes_no_sense_is_named(make, says):
    with pytest.raises(TypeError) as caught:
        make()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda pool: pool.map(square, 5), "iterable=5 is not iterable: for one item, write [5]"),
        (lambda pool: pool.map("square", [1]), "func='square' is not callable"),
        (lambda pool: pool.imap(square, None), "iterable=None is not iterable"),
        (lambda pool: pool.imap_unordered(None, [1]), "func=None is not callable"),
        (lambda pool: pool.starmap(square, 5), "iterable=5 is not iterable"),
        (lambda pool: pool.apply(square, 1), "args=1 is not a sequence of arguments"),
        (lambda pool: pool.apply(square, (), 5), "kwds=5 is not a mapping of names"),
        (lambda pool: pool.apply_async(square, (), [("number", 1)]), "is not a mapping of names"),
        (lambda pool: pool.apply_async("square", (1,)), "func='square' is not callable"),
        (
            lambda pool: pool.map(square, [1], timout=1),
            "no task option 'timout'; there are: timeout, ",
        ),
        (lambda pool: pool.apply_async(square, (1,)).wait("x"), "timeout='x' is not a number"),
        (lambda pool: pool.imap(square, [1]).next(timeout="x"), "timeout='x' is not a number"),
        (
            lambda pool: pool.apply_async(square, (1,)).add_done_callback(5),
            "fn=5 is not callable",
        ),
    ],
)
def test_calls_that_make_no_sense_are_refused_and_the_pool_goes_on(pool, call, says):
    with pytest.raises(TypeError) as caught:
        call(pool)
    assert says in str(caught.value)
    assert pool.apply(square, (3,)) == 9


def test_a_target_in_the_place_of_the_group_is_told():
    with pytest.raises(AssertionError, match="write target="):
        tines.Process(square)


@pytest.mark.skipif(transport.choice().name == "pipe", reason="it is the standard library's there")
def test_a_barrier():
    for wrong in (lambda: tines.Barrier("x"), lambda: tines.Barrier(2, 5)):
        with pytest.raises(TypeError):
            wrong()


def test_a_pool_for_asyncio():
    async def calls():
        async with aio.Pool(1) as pool:
            with pytest.raises(TypeError, match="iterable=5 is not iterable"):
                await pool.map(square, 5)
            with pytest.raises(TypeError, match="func='x' is not callable"):
                await pool.apply("x")
            return await pool.apply(square, (3,))

    assert asyncio.run(calls()) == 9


def test_what_iterates_by_old_rules_or_raises_of_its_own_is_left_alone(pool):
    class Old:
        def __getitem__(self, index):
            return [1, 2, 3][index]

    class Broken:
        def __iter__(self):
            raise TypeError("of its own")

    assert pool.map(square, Old()) == [1, 4, 9]
    with pytest.raises(TypeError, match="of its own"):
        pool.map(square, Broken())
    with pytest.raises(TypeError, match="of its own"):
        pool.apply(square, Broken())
