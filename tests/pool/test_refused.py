"""What cannot be sent is refused where it is given, by every call, with an error that programs know."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tines
from pool_tools import MakePool
from tines.errors import EncodeError
from tines.queues import Queue
from tines.transport.contract import Transport

PATIENCE = 20.0


class OwnError(Exception):
    def __init__(self, what: str, code: int) -> None:
        super().__init__(what, code)
        self.code = code


class OwnLookup(KeyError):
    pass


class Refuses:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


def same(value: Any) -> Any:
    return value


Call = Callable[[Any], Any]


@pytest.fixture(params=["put", "apply", "apply_async", "map", "imap", "submit", "start"])
def call(request: pytest.FixtureRequest, make: MakePool, transport: Transport) -> Iterator[Call]:
    """Each way to give something to another process."""
    if request.param == "put":
        yield Queue[Any](transport=transport.name).put
    elif request.param == "submit":
        with tines.ProcessPoolExecutor(1, transport=transport) as executor:
            yield lambda value: executor.submit(same, value).result(PATIENCE)
    elif request.param == "start":
        spawn = tines.get_context("spawn")
        yield lambda value: spawn.Process(target=same, args=(value,)).start()
    else:
        pool = make(1)
        yield {
            "apply": lambda value: pool.apply(same, (value,)),
            "apply_async": lambda value: pool.apply_async(same, (value,)).get(PATIENCE),
            "map": lambda value: pool.map(same, [value]),
            "imap": lambda value: next(pool.imap(same, [value])),
        }[request.param]


@pytest.mark.parametrize(
    "error", [OwnError("no", 7), OwnLookup("no"), OSError(5, "no"), AttributeError("no")]
)
def test_an_exception_of_the_programs_own_is_caught_as_that(call: Call, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        call(Refuses(error))
    assert isinstance(caught.value, EncodeError)
    assert "cannot pickle" in str(caught.value)
    assert "no" in str(caught.value)
    assert caught.value.__cause__ is error
    if isinstance(caught.value, OwnError):
        assert caught.value.code == 7  # type: ignore[unreachable]
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, type(error))
    assert str(again) == str(caught.value)


def test_an_open_file_does_not_arrive_as_something_else(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("some text")
    for mode in ("r", "r+", "a", "rb"):
        with open(path, mode) as file, pytest.raises(EncodeError, match="cannot pickle"):
            call(file)
