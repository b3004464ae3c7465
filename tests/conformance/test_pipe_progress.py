"""How far the holder of a lease is: on the pipe, a store into a shared page, or else a frame."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from support.descriptors import KNOWN, descriptors
from support.processes import Start
from support.waiting import PATIENCE, wait_for
from tines.transport import named
from tines.transport.pipe import client
from tines.transport.pipe.state import ChannelState
from tines.transport.pipe.ticks import Page, opened

pipe = named("pipe")

has_pages = pytest.mark.skipif(
    sys.platform not in ("linux", "win32"), reason="there are no pages that others can find here"
)


def _take_and_die(tasks: Any, after: int) -> None:
    assert tasks.recv(PATIENCE, 1) is not None
    for item in tasks.ticking(range(1, 10), 1):
        if item == after:
            os.kill(os.getpid(), signal.SIGKILL)


def _take_two(tasks: Any, go: Any) -> None:
    for _ in range(2):
        assert tasks.recv(PATIENCE, 0) is not None
        for _ in tasks.ticking(range(5), 0):
            pass
        assert go.recv(PATIENCE) is not None
        tasks.release(0)


@pytest.mark.parametrize(
    "page", [pytest.param(True, marks=has_pages, id="page"), pytest.param(False, id="frames")]
)
def test_what_a_killed_holder_had_begun_is_known(
    start: Start, method: str, monkeypatch: pytest.MonkeyPatch, page: bool
) -> None:
    frames: list[int] = []
    tick = ChannelState.tick

    def counted(state: ChannelState, index: int, progress: int) -> None:
        frames.append(progress)
        tick(state, index, progress)

    monkeypatch.setattr(ChannelState, "tick", counted)
    if not page:
        monkeypatch.setattr(Page, "_share", lambda self, slots: None)
    tasks = pipe.channel(leases=2)
    tasks.send(b"", tag=7)
    child = start(_take_and_die, tasks, 4)
    child.join(PATIENCE)
    assert child.exitcode == -signal.SIGKILL
    lease = tasks.lease(1)
    assert lease is not None and (lease.tag, lease.progress) == (7, 4)
    assert frames == ([] if page else [1, 2, 3, 4])
    tasks.close()


def test_each_message_is_counted_from_zero(start: Start, method: str) -> None:
    tasks, go = pipe.channel(leases=1), pipe.channel()
    tasks.send(b"", tag=1)
    child = start(_take_two, tasks, go)
    wait_for(lambda: (held := tasks.lease(0)) is not None and held.progress == 5)
    go.send(b"")
    wait_for(lambda: tasks.lease(0) is None)
    tasks.send(b"", tag=2)
    wait_for(lambda: (held := tasks.lease(0)) is not None and held[:2] == (2, 5))
    go.send(b"")
    child.join(PATIENCE)
    assert child.exitcode == 0
    tasks.close()
    go.close()


@has_pages
def test_only_the_right_page_is_opened() -> None:
    page, other = Page(3), Page(3)
    numbers = opened(page.place, 3)
    assert numbers is not None
    numbers[2] = 2**63
    assert page.numbers[2] == 2**63 and other.numbers[2] == 0
    assert opened(page.place, 4) is None, "of another size"
    assert opened(other.place[:16] + page.place[16:], 3) is None, "of another channel"
    assert opened(b"", 3) is None
    assert client.opened is opened
    page.close()
    assert page.numbers[2] == 2**63, "who is there already goes on"
    if sys.platform == "linux":
        assert opened(page.place, 3) is None


@has_pages
@pytest.mark.skipif(not KNOWN, reason="the system does not tell which descriptors are open")
def test_what_is_counted_in_goes_with_its_channel(fork: Start) -> None:
    """At once: not when the thread that lets go of it has something else to do."""
    wait_for(lambda: not _pages())  # of channels before
    tasks = pipe.channel(leases=1)
    child = fork(_wait_for_ever, tasks)
    tasks.close()
    assert _pages()
    child.kill()
    child.join(PATIENCE)
    wait_for(lambda: not _pages())


def _wait_for_ever(tasks: Any) -> None:
    signal.pause()


def test_what_was_counted_can_be_read_after_the_end() -> None:
    page = Page(3)
    page.numbers[1] = 5
    page.close()
    page.close()
    assert list(page.numbers) == [0, 5, 0]


def _pages() -> list[str]:
    return [each for each in descriptors().values() if "tines-progress" in each]
