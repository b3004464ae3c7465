"""The registry of what happens at a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from support.waiting import PATIENCE
from tines import _fork
from tines._fork import Rank, at_fork

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@pytest.fixture(autouse=True)
def empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else takes part."""
    monkeypatch.setattr(_fork, "_table", ())


def fork_and_tell(calls: list[str]) -> list[str]:
    """Fork; return what was called in the child, on top of what was called before."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, " ".join(calls).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        told = file.read().split()
    assert os.waitpid(pid, 0)[1] == 0
    return told


def hooks(calls: list[str], name: str) -> dict[str, Callable[[], object]]:
    """Return hooks that note their calls."""
    return {
        when: lambda when=when: calls.append(f"{name}-{when}")
        for when in ("before", "parent", "child")
    }


def test_ranks_are_nested_whoever_comes_first() -> None:
    calls: list[str] = []
    at_fork(Rank.POOLS, **hooks(calls, "pools"))
    at_fork(Rank.PUBLISHER, **hooks(calls, "publisher"))
    at_fork(Rank.RING, **hooks(calls, "ring"))
    before = ["publisher-before", "pools-before", "ring-before"]
    assert fork_and_tell(calls) == [*before, "ring-child", "pools-child", "publisher-child"]
    assert calls == [*before, "ring-parent", "pools-parent", "publisher-parent"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_raises_keeps_no_other_from_its_turn() -> None:
    calls: list[str] = []

    def fail() -> None:
        raise RuntimeError("on purpose")

    at_fork(Rank.POOLS, before=fail, parent=fail, child=fail)
    at_fork(Rank.RING, **hooks(calls, "ring"))
    at_fork(Rank.PUBLISHER, **hooks(calls, "publisher"))
    before = ["publisher-before", "ring-before"]
    assert fork_and_tell(calls) == [*before, "ring-child", "publisher-child"]
    assert calls == [*before, "ring-parent", "publisher-parent"]


def test_who_comes_while_a_fork_is_under_way_waits_for_the_next() -> None:
    """It would give back a lock that it never took."""
    calls: list[str] = []
    at_fork(Rank.RING, before=lambda: at_fork(Rank.POOLS, **hooks(calls, "pools")))
    assert fork_and_tell(calls) == []
    assert calls == []
    assert fork_and_tell(calls) == ["pools-before", "pools-child"]
    assert calls == ["pools-before", "pools-parent"]


def test_a_fork_in_the_midst_of_a_fork_has_its_own_turn() -> None:
    """As a signal handler may.

    In a process that has imported little: other modules have locks that they take before each fork, and take
    once only (``concurrent.futures.thread`` is one).
    """
    program = "import test_fork; test_fork.fork_in_the_midst_of_a_fork()"
    path = os.pathsep.join((os.path.dirname(__file__), *sys.path))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def fork_in_the_midst_of_a_fork() -> None:
    assert "concurrent.futures.thread" not in sys.modules
    _fork._table = ()
    calls: list[str] = []
    inner: list[list[str]] = []

    def fork_once() -> None:
        if not inner:
            inner.append([])
            inner[0] = fork_and_tell(calls)

    at_fork(Rank.RING, **hooks(calls, "ring"))
    at_fork(Rank.POOLS, before=fork_once)
    outer = fork_and_tell(calls)
    assert inner == [["ring-before", "ring-child"]]
    assert outer == ["ring-before", "ring-parent", "ring-before", "ring-child"]
    assert not _fork._under_way
