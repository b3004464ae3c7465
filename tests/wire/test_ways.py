"""What stands in for ``object.__reduce_ex__``: it has to say the very same about each object."""

from __future__ import annotations

import copyreg
import enum
import gc
import pickle
import weakref
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import pytest

from tines.wire import pickling, reducers

T = TypeVar("T")
native = pickling.encode is not pickling._encode_in_python
needs_core = pytest.mark.skipif(not native, reason="the native core is not in use")


class Plain:
    def __new__(cls, *_: Any, **__: Any) -> Plain:
        return super().__new__(cls)

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Child(Plain):
    kind = "a class attribute"


class Of(Generic[T]):
    pass


@dataclass
class Data:
    x: Any
    y: Any = None


@dataclass(frozen=True)
class Frozen:
    x: Any


class Slots:
    __slots__ = ("__private", "unset", "x")

    def __init__(self, x: Any) -> None:
        self.x = x
        self.__private = [x]


class MoreSlots(Slots):
    __slots__ = ("__weakref__", "y")


class NoSlots:
    __slots__ = ()


class SlotsAndDict(Slots):
    pass


class DictInSlots:
    __slots__ = ("__dict__",)


@dataclass(frozen=True)
class Narrow:
    __slots__ = ("x", "y")
    x: Any
    y: Any


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    x: Any
    y: Any


Pair = namedtuple("Pair", "left right")


class Typed(NamedTuple):
    left: Any
    right: Any = 2


class PairWithDict(Pair):
    pass


class PairWithMethods(Pair):
    __slots__ = ()


class PairIterated(Pair):
    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter((self[1], self[0]))


class PairOfOwnMind(Pair):
    __slots__ = ()

    def __getnewargs__(self) -> Any:
        return (7, 8)


class WithState:
    def __getstate__(self) -> Any:
        return {"x": "stated"}


class SetsState:
    x: Any = None

    def __setstate__(self, state: Any) -> None:
        self.x = ("set", state)


class Answers:
    """One that has an answer for every name that pickling could ask for."""

    def __getattr__(self, name: str) -> Any:
        if name == "__getnewargs__":
            return tuple
        raise AttributeError(name)


class Fakes:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return {"x": "faked"}


class Reduced:
    def __reduce__(self) -> Any:
        return Plain, ()


class Words(str):
    pass


class Items(list):  # type: ignore[type-arg]
    pass


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Constant:
    """A function that can be pickled, with always the same answer."""

    answer: Any

    def __call__(self, *_: Any) -> Any:
        return self.answer


moment = datetime(2026, 10, 25, 2, 30, fold=1)

QUICK = {
    "plain": Plain(x=1, y="z"),
    "empty": Plain(),
    "inherited": Child(x=[1]),
    "generic": Of(),
    "dataclass": Data(1, "z"),
    "frozen": Frozen(1),
    "slots": Slots(1),
    "more slots": MoreSlots(1),
    "no slots": NoSlots(),
    "a dict in slots": DictInSlots(),
    "named tuple": Pair(1, "z"),
    "typed": Typed(1),
    "a named tuple with methods": PairWithMethods(1, 2),
    "sets its state": SetsState(),
    "frozen slots": FrozenSlots(1, 2),
    "decimal": Decimal("1.25"),
    "timedelta": timedelta(1),
    "datetime": moment,
    "datetime with a zone": moment.replace(tzinfo=timezone(timedelta(hours=2), "z")),
}
ASKED = {
    "slots and a dict": SlotsAndDict(1),
    "a named tuple with a dict": PairWithDict(1, 2),
    "a named tuple that is read backwards": PairIterated(1, 2),
    "a named tuple with arguments of its own": PairOfOwnMind(1, 2),
    "a state of its own": WithState(),
    "names that are made up": Answers(),
    "a dict that is made up": Fakes(),
    "a reducer of its own": Reduced(),
    "str": Words("x"),
    "list": Items([1]),
    "enum": Colour.RED,
    "namespace": SimpleNamespace(x=1),
    "ordered": OrderedDict(x=1),
    "uuid": UUID(int=1),
    "exception": ValueError(1),
    "object": object(),
}
EITHER = {
    "fraction": Fraction(1, 3),
    "deque": deque([1]),
    "path": PurePath("a"),
    "narrow": Narrow.__new__(Narrow),
}
EVERY = {**QUICK, **ASKED, **EITHER}


def way(obj: object) -> Callable[[Any], Any] | None:
    """Return what stands in for ``object.__reduce_ex__`` with the native encoder."""
    from tines import _native

    table = reducers.native_dispatch(_native, {})
    try:
        return table[type(obj)]  # type: ignore[no-any-return]
    except KeyError:
        return None


@needs_core
@pytest.mark.parametrize("name", EVERY)
def test_it_says_what_the_object_would(name: str) -> None:
    obj = EVERY[name]
    reducer = way(obj)
    assert (reducer is None) <= (name not in QUICK)
    assert (reducer is None) >= (name in ASKED)
    if reducer is not None:
        expected = obj.__reduce_ex__(5)  # type: ignore[attr-defined]
        said = reducer(obj)
        assert said[:2] == expected[:2]
        assert (*said, None)[2] == (*expected, None)[2]


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("object", "narrow")])
def test_the_pickle_is_the_usual_one(name: str) -> None:
    obj = EVERY[name]
    kind, data, buffers = pickling.encode([obj, obj])
    assert bytes(data) == pickle.dumps([obj, obj], 5)
    first, again = pickling.decode(kind, data, buffers)
    plain = pickle.loads(pickle.dumps(obj, 5))
    assert first is again
    assert type(first) is type(plain)
    assert pickle.dumps(first, 5) == pickle.dumps(plain, 5)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("__reduce_ex__", (int, (3,))),
        ("__getstate__", {"x": "stated"}),
        ("__getnewargs__", (1,)),
        ("__getnewargs_ex__", ((1,), {})),
    ],
)
def test_what_an_object_itself_says_counts(name: str, answer: Any) -> None:
    obj = Plain(**{name: Constant(answer)})
    expected = obj.__reduce_ex__(5)
    if native:
        reducer = way(obj)
        assert reducer is not None
        assert reducer(obj) == expected
    arrived = pickling.decode(*pickling.encode(Data(obj)))
    assert arrived == pickle.loads(pickle.dumps(Data(obj), 5))


def test_a_class_that_is_changed_is_asked_anew() -> None:
    class Base:
        pass

    class Changing(Base):
        pass

    Changing.__qualname__, Changing.__module__ = "Changing", __name__
    globals()["Changing"] = Changing
    obj = Changing()
    obj.x = 1  # type: ignore[attr-defined]

    def sent() -> Any:
        return vars(pickling.decode(*pickling.encode(obj)))

    try:
        assert sent() == {"x": 1}
        Base.__getstate__ = lambda self: {"x": "a base's"}  # type: ignore[attr-defined]
        assert sent() == {"x": "a base's"}
        Changing.__getstate__ = lambda self: {"x": "its own"}  # type: ignore[attr-defined]
        assert sent() == {"x": "its own"}
        del Changing.__getstate__, Base.__getstate__  # type: ignore[attr-defined]
        assert sent() == {"x": 1}
        Changing.__reduce__ = lambda self: (Plain, ())  # type: ignore[method-assign,assignment]
        assert sent() == {}
        del Changing.__reduce__
        Changing.__getattr__ = lambda self, name: None  # type: ignore[attr-defined]
        assert (way(obj) if native else None) is None
        del Changing.__getattr__  # type: ignore[attr-defined]
        assert sent() == {"x": 1}
    finally:
        del globals()["Changing"]


def test_what_is_registered_goes_first() -> None:
    pickling.encode(Plain(x=1))
    copyreg.pickle(Plain, lambda obj: (Data, (obj.x,)))  # type: ignore[arg-type,return-value]
    try:
        assert pickling.decode(*pickling.encode(Plain(x=1))) == Data(1)
    finally:
        del copyreg.dispatch_table[Plain]


def test_circles_and_shared_parts_are_kept() -> None:
    shared = Plain()
    first, second = Plain(shared=shared), Slots(shared)
    first.other, second.x = second, [first, shared]  # type: ignore[attr-defined]
    one, two = pickling.decode(*pickling.encode([first, second]))
    assert one.other is two
    assert two.x[0] is one
    assert two.x[1] is one.shared


def test_a_value_that_fails_is_the_callers_to_see() -> None:
    class Failing:
        __slots__ = ("x",)

        @property
        def y(self) -> Any:
            raise OSError("not now")

    Failing.__slotnames__ = ["x", "y"]  # type: ignore[attr-defined]
    Failing.__qualname__ = "Failing"
    globals()["Failing"] = Failing
    try:
        with pytest.raises(Exception, match="not now"):
            pickling.encode(Failing())
    finally:
        del globals()["Failing"]


@needs_core
def test_classes_are_not_kept_alive() -> None:
    def met() -> list[weakref.ref[type]]:
        class Short:
            pass

        class Narrow:
            __slots__ = ("x",)

        Tuple = namedtuple("Tuple", "x")
        for each in (Short(), Narrow(), Tuple(1)):
            assert way(each) is not None
            reducers_table[type(each)](each)
        return [weakref.ref(Short), weakref.ref(Narrow), weakref.ref(Tuple)]

    from tines import _native

    reducers_table = reducers.native_dispatch(_native, {})
    seen = met()
    gc.collect()
    assert [each() for each in seen] == [None] * 3
