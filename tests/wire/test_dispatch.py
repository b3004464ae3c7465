"""Which reducer an object is pickled with, by the native encoder and by its twin in Python."""

from __future__ import annotations

import copyreg
import importlib.util
import pickle
import sys
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest

from tines.wire import pickling, reducers


@dataclass
class Point:
    x: int
    y: int


def point_on_a_line(x: int) -> Point:
    return Point(x, 0)


def to_a_line(point: Point) -> tuple[Any, ...]:
    return point_on_a_line, (point.x,)


def to_a_point(point: Point) -> tuple[Any, ...]:
    return Point, (-point.x, -point.y)


@pytest.fixture(params=["native", "python"])
def encode(request: pytest.FixtureRequest) -> Callable[[object], Any]:
    """Both encoders; this module has a file, so neither takes it for an interactive session."""
    if request.param == "native" and pickling.encode is pickling._encode_in_python:
        pytest.skip("the native core is not in use")
    return pickling.encode if request.param == "native" else pickling._encode_in_python


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """What a test registers for ``Point`` goes with it."""
    yield
    ForkingPickler._extra_reducers.pop(Point, None)  # type: ignore[attr-defined]
    copyreg.dispatch_table.pop(Point, None)


def sent(encode: Callable[[object], Any], obj: object) -> Any:
    return pickling.decode(*encode(obj))


def test_what_is_registered_later_or_anew_counts(encode: Callable[[object], Any]) -> None:
    assert sent(encode, Point(1, 2)) == Point(1, 2)
    ForkingPickler.register(Point, to_a_line)
    assert sent(encode, Point(1, 2)) == Point(1, 0)
    ForkingPickler.register(Point, to_a_point)
    assert sent(encode, Point(1, 2)) == Point(-1, -2)
    del ForkingPickler._extra_reducers[Point]  # type: ignore[attr-defined]
    assert sent(encode, Point(1, 2)) == Point(1, 2)
    copyreg.pickle(Point, to_a_point)
    assert sent(encode, Point(1, 2)) == Point(-1, -2)
    copyreg.pickle(Point, to_a_line)
    assert sent(encode, Point(1, 2)) == Point(1, 0)


def test_multiprocessing_goes_before_copyreg(encode: Callable[[object], Any]) -> None:
    copyreg.pickle(Point, to_a_point)
    ForkingPickler.register(Point, to_a_line)
    assert sent(encode, Point(1, 2)) == Point(1, 0)


def test_a_list_of_objects_runs_no_python_for_each(encode: Callable[[object], Any]) -> None:
    points = [Point(n, n) for n in range(500)]
    encode(points)
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        encode(points)
    finally:
        sys.setprofile(None)
    assert calls < 50


def test_a_large_message_does_not_slow_the_small_ones_after_it(
    encode: Callable[[object], Any],
) -> None:
    def small() -> float:
        return min(timeit.repeat(lambda: encode(1), number=200, repeat=30))

    before = small()
    encode([(n, n) for n in range(1500)])
    assert small() < 5 * before


LIBRARY = """
class Thing:
    pass
"""


class TestLibraries:
    """The registry, with a library that it does not know by itself."""

    @pytest.fixture
    def library(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[], Any]]:
        """Import a library that is known to the registry, but was not there so far."""
        name = "library_of_things"
        # The registry goes by the number of modules, which must not be that of the last test.
        filler = f"filler_{len(sys.modules)}"
        sys.modules[filler] = type(sys)(filler)
        (tmp_path / f"{name}.py").write_text(LIBRARY)
        monkeypatch.setitem(reducers._awaited, name, name)
        given: list[Any] = []

        def adapter(found: Any) -> Any:
            from tines.wire.reducers.contract import Reducers

            given.append(found)
            return Reducers({found.Thing: lambda thing: (str, ("a thing",))})

        monkeypatch.setattr(
            reducers, "import_module", lambda name: type("Module", (), {"reducers": adapter})
        )

        def bring(initializing: bool = False) -> Any:
            spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            spec._initializing = initializing  # type: ignore[attr-defined]
            sys.modules[name] = module
            return module

        yield bring
        found = sys.modules.pop(name, None)
        if found is not None:
            reducers.added.pop(found.Thing, None)

    def test_is_taken_in_once_it_is_imported(
        self, library: Callable[[], Any], encode: Callable[[object], Any]
    ) -> None:
        encode(Point(1, 2))
        module = library()
        assert sent(encode, [module.Thing()]) == ["a thing"]

    def test_is_not_taken_in_while_it_is_being_imported(
        self, library: Callable[..., Any], encode: Callable[[object], Any]
    ) -> None:
        module = library(initializing=True)
        sys.modules[module.__name__] = module
        encode(Point(1, 2))
        assert module.Thing not in reducers.added
        module.__spec__._initializing = False
        assert sent(encode, module.Thing()) == "a thing"

    def test_what_the_program_says_goes_first(
        self, library: Callable[[], Any], encode: Callable[[object], Any]
    ) -> None:
        module = library()
        copyreg.pickle(module.Thing, lambda thing: (int, (7,)))
        try:
            assert sent(encode, module.Thing()) == 7
        finally:
            del copyreg.dispatch_table[module.Thing]


def test_unhashable_reducers_are_asked_like_others(encode: Callable[[object], Any]) -> None:
    class Reducer:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, point: Point) -> tuple[Any, ...]:
            return point_on_a_line, (point.x,)

    ForkingPickler.register(Point, Reducer())  # type: ignore[arg-type]
    assert sent(encode, Point(1, 2)) == Point(1, 0)
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)
