"""What CPython's own tests (``make compat``) found once, so that it stays found."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

import tines
from tines.errors import EncodeError


class Unpicklable:
    def __reduce__(self) -> tuple[object, ...]:
        raise RuntimeError("cannot be pickled")


def square(number: int) -> int:
    return number * number


def breaking_off(count: int) -> Iterator[int]:
    yield from range(count)
    raise LookupError("no more input")


@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_a_map_of_which_nothing_can_be_pickled_ends(chunksize: int | None) -> None:
    with tines.Pool(1) as pool:
        with pytest.raises(EncodeError) as caught:
            pool.map(square, [Unpicklable() for _ in range(2000)], chunksize)
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert pool.map(square, range(3)) == [0, 1, 4]


@pytest.mark.parametrize(("chunksize", "seen"), [(1, 7), (2, 6), (4, 4)])
def test_an_input_that_raises_costs_its_whole_chunk(chunksize: int, seen: int) -> None:
    with tines.Pool(2) as pool:
        results = pool.imap(square, breaking_off(7), chunksize)
        assert [next(results) for _ in range(seen)] == [n * n for n in range(seen)]
        with pytest.raises(LookupError):
            next(results)


def test_a_pool_without_its_second_thread_does_not_hold_up_the_exit() -> None:
    program = """
        import threading
        import tines

        start, started = threading.Thread.start, []

        def start_one(self):
            if started:
                raise RuntimeError("can't start new thread")
            started.append(self)
            start(self)

        if __name__ == "__main__":
            threading.Thread.start = start_one
            pool = tines.Pool(1)
            try:
                while True:  # the first call may be over before the second thread is wanted
                    pool.apply(abs, (-1,))
            except tines.PoolBrokenError as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "can't start new thread" in done.stdout


def test_the_names_of_remote_tracebacks() -> None:
    from tines.pool import RemoteTraceback

    with tines.Pool(1) as pool, pytest.raises(TypeError) as caught:
        pool.apply(square, ("a",))
    cause = caught.value.__cause__
    assert type(cause) is RemoteTraceback and "number * number" in cause.tb
