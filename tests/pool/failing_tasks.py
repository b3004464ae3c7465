"""Tasks that fail in ways of their own."""

from __future__ import annotations

import os
import time
from typing import Any

from pool_tasks import leave_mark


class Picky(ConnectionError):
    """Pickles, but does not unpickle, as many exceptions with arguments of their own do."""

    def __init__(self, what: str, *, why: str) -> None:
        super().__init__(what)
        self.why = why


def raise_picky_until(directory: str, runs: int) -> int:
    count = leave_mark(directory, "run")
    if count < runs:
        raise Picky("run", why=str(count))
    return count


def busy_until(directory: str, runs: int) -> int:
    """Swallow every interruption, but be done at once at the given run."""
    os.makedirs(directory, exist_ok=True)
    count = leave_mark(directory, "run")
    while count < runs:
        try:
            time.sleep(60)
        except BaseException:
            continue
    return count


def generator_at(bad: int) -> Any:
    return (n for n in range(3)) if bad else 0


def exit_if(bad: int) -> int:
    """End this process, if asked to."""
    if bad:
        os._exit(3)
    return bad


class Loud(Exception):
    """Counts how often it is unpickled in this process."""

    unpickled = 0

    def __setstate__(self, state: Any) -> None:
        type(self).unpickled += 1


def raise_loud() -> None:
    error = Loud("it")
    error.kept = True  # so that there is a state
    raise error


class Anything:
    """Has whatever attribute it is asked for, as mocks and proxies do, except for one that raises."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__qualname__":
            raise ZeroDivisionError(name)
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        return self

    def __call__(self, *arguments: object, **keywords: object) -> None:
        raise LookupError("its own")


class Pairs:
    """What ``**`` takes, and no more."""

    def keys(self) -> list[str]:
        return ["x"]

    def __getitem__(self, name: str) -> int:
        return 17
