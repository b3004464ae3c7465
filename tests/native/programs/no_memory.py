"""Fail one allocation of a call, and then the next one, to the end: ``python no_memory.py ring put small``.

Python itself fails the n-th allocation (``_testcapi``), once. What has to hold, whichever it was:

* a call that raises says ``MemoryError``, and has done nothing: what was to be sent was not, and what was to
  be received is what the next call gets;
* a call that returns has done all of it;
* the calls after that work.

Prints how many of them raised, and each n at which something of this did not hold.
"""

from __future__ import annotations

import _testcapi
import array
import gc
import itertools
import pickle
import sys
from collections.abc import Callable
from typing import Any

import tines as mp
from tines.errors import EncodeError

PATIENCE = 20.0

# In a few places pickle takes what it could not look up, for want of memory, for not there.
SAID = (MemoryError, EncodeError)


class Grid:
    """What pickles with one buffer beside it."""

    def __init__(self, number: int, size: int) -> None:
        self.numbers = array.array("q", [number]) * size

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return _grid, (pickle.PickleBuffer(self.numbers),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.numbers == other.numbers


def _grid(buffer: Any) -> Grid:
    grid = Grid(0, 0)
    grid.numbers.frombytes(buffer)
    return grid


MAKERS: dict[str, Callable[[int], object]] = {
    "small": lambda n: (n, "text", {"key": [1.5, n]}),
    "objects": lambda n: [Grid(n, 1) for _ in range(4)],
    "raw": lambda n: bytes([n]) * 40_000,
    "buffer": lambda n: Grid(n, 5_000),
    "packed": lambda n: [Grid(n, 100) for _ in range(30)],
    "grown": lambda n: [str(n)] * 20_000,
}


def failing(n: int, call: Callable[[], Any]) -> tuple[Any, BaseException | None, bool]:
    """Call with the n-th allocation failing; return what came of it, and whether it was come to."""
    outcome, raised, reached = None, None, True
    gc.disable()
    _testcapi.set_nomemory(n, n + 1)
    try:
        try:
            outcome = call()
        except BaseException as error:
            raised = error
        else:
            try:
                chain: object = None
                for _ in itertools.repeat(None, n + 2):
                    chain = (chain,)
            except MemoryError:
                reached = False
    finally:
        _testcapi.remove_mem_hooks()
        gc.enable()
    return outcome, raised, reached


def taken(queue: Any) -> list[object]:
    """Take all that a queue has."""
    return [queue.get(timeout=PATIENCE) for _ in range(queue.qsize())]


def put(queue: Any, n: int, make: Callable[[int], object]) -> tuple[bool, bool, str]:
    """Put one; return whether it raised, whether the allocation was reached, and what is wrong."""
    one = make(3)
    _, raised, reached = failing(n, lambda: queue.put(one))
    left = taken(queue)
    if raised is not None and not isinstance(raised, SAID):
        return True, reached, f"raised {raised!r}"
    expected = [] if raised is not None else [one]
    return raised is not None, reached, "" if left == expected else f"{raised!r}: sent {len(left)}"


def put_many(queue: Any, n: int, make: Callable[[int], object]) -> tuple[bool, bool, str]:
    """The same with several: those that are sent are the first ones."""
    several = [make(number) for number in (3, 4, 5)]
    sent, raised, reached = failing(n, lambda: queue.put_many(several))
    left = taken(queue)
    if raised is not None and not isinstance(raised, SAID):
        return True, reached, f"raised {raised!r}"
    fine = left == several[: len(left)] and (raised is not None or sent == len(left) == 3)
    return raised is not None, reached, "" if fine else f"{raised!r}: sent {len(left)}"


def get(
    queue: Any, n: int, make: Callable[[int], object], several: bool = False
) -> tuple[bool, bool, str]:
    """Get one of two, or both, and then what is left."""
    both = [make(3), make(4)]
    for one in both:
        queue.put(one)

    def call() -> Any:
        return queue.get_many(2, PATIENCE) if several else queue.get(timeout=PATIENCE)

    outcome, raised, reached = failing(n, call)
    if raised is not None and not isinstance(raised, MemoryError):
        return True, reached, f"raised {raised!r}"
    got = [] if raised is not None else outcome if several else [outcome]
    got = [*got, *taken(queue)]
    return raised is not None, reached, "" if got == both else f"{raised!r}: got {len(got)} of 2"


def get_many(queue: Any, n: int, make: Callable[[int], object]) -> tuple[bool, bool, str]:
    """The same for ``get_many``."""
    return get(queue, n, make, several=True)


KINDS = {"put": put, "put_many": put_many, "get": get, "get_many": get_many}


def main(transport: str, kind: str, name: str, most: str) -> None:
    """Go through the allocations of one call."""
    queue, make = mp.Queue(transport=transport), MAKERS[name]
    raised = wrong = 0
    for n in itertools.count():
        print("begins", n, flush=True)  # what is printed last is where it died
        did_raise, reached, problem = KINDS[kind](queue, n, make)
        if not problem:
            queue.put(make(6))
            if (after := taken(queue)) != [make(6)]:
                problem = f"afterwards {len(after)} came"
        if problem:
            wrong += 1
            print("WRONG", n, problem[:300], flush=True)
            queue = mp.Queue(transport=transport)
        if not reached or n == int(most):
            break
        raised += did_raise
    print("raised", raised, "wrong", wrong, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
