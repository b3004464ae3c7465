"""How long a channel of the pipe transport lives: as long as anybody can reach it, and no longer."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from collections.abc import Iterator

import pytest

import tines
from channel_tools import WAIT, Finish, must
from support.processes import Start
from support.waiting import wait_for
from tines.errors import TransportError
from tines.transport import named
from tines.transport.contract import Channel, Shared
from tines.transport.pipe import registry

pipe = named("pipe")
METHODS = tines.get_all_start_methods()


@pytest.fixture(autouse=True)
def nothing_in_advance() -> Iterator[None]:
    """What is kept for the processes of ours to come is not left behind by a test."""
    yield
    if sys.platform != "win32":
        from tines.process.start import forkserver_client, spares

        spares.stop()
        forkserver_client.stop()


def broker_channels() -> int:
    current = registry.current()
    current.sweep()
    return len(current.broker().channels)


def hold_until_told(channel: Channel, go: Channel, ready: Channel) -> None:
    channel.qsize()
    ready.send(b"")
    assert go.recv(WAIT) is not None


def hold_without_use(go: Channel, ready: Channel, *_: object) -> None:
    ready.send(b"")
    assert go.recv(WAIT) is not None


def pass_on(post: Channel, go: Channel, ready: Channel) -> None:
    """Open a channel from a message, put it into another message, and let go of it."""
    channel = pickle.loads(must(post.recv(WAIT))[2])
    post.send(pickle.dumps(channel))
    channel.close()
    hold_without_use(go, ready)


def test_a_dropped_channel_is_gone() -> None:
    gc.collect()
    base = broker_channels()
    for close in (True, False):
        channel = pipe.channel()
        other = pickle.loads(pickle.dumps(channel))
        channel.send(bytes(1000))
        channel.close()
        assert other.qsize() == 1
        if close:
            other.close()
        del channel, other
        wait_for(lambda: broker_channels() == base)


def test_a_channel_goes_when_its_last_process_ends(start: Start) -> None:
    go, ready = pipe.channel(), pipe.channel()
    base = broker_channels()
    channel = pipe.channel()
    children = [start(hold_until_told, channel, go, ready) for _ in range(2)]
    for _ in children:
        assert ready.recv(WAIT) is not None
    del channel
    gc.collect()
    assert broker_channels() == base + 1
    children[0].kill()
    children[0].join()
    assert broker_channels() == base + 1
    go.send(b"")
    children[1].join()
    wait_for(lambda: broker_channels() == base)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_holds_nothing_for_one_that_another_thread_forks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two threads fork at once: each child is the only one at its own end of its pipe."""
    ends = os.pipe()
    monkeypatch.setitem(registry._forking, -1, ends)  # as if another thread were about to
    child = os.fork()
    if child == 0:
        os._exit(sum(is_open(descriptor) for descriptor in ends))
    for descriptor in ends:
        os.close(descriptor)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_forked_child_holds_what_it_never_used(fork: Start) -> None:
    go, ready = pipe.channel(), pipe.channel()
    base = broker_channels()
    channel = pipe.channel()
    child = fork(hold_without_use, go, ready, channel)
    assert ready.recv(WAIT) is not None
    channel.close()
    gc.collect()
    assert broker_channels() == base + 1
    go.send(b"")
    child.join()
    wait_for(lambda: broker_channels() == base)


def test_a_pickled_handle_holds_its_channel(start: Start) -> None:
    post, go, ready = pipe.channel(), pipe.channel(), pipe.channel()
    base = broker_channels()
    channel = pipe.channel()
    channel.send(b"", tag=3)
    post.send(pickle.dumps(channel))
    channel.close()
    child = start(pass_on, post, go, ready)
    assert ready.recv(WAIT) is not None
    assert broker_channels() == base + 1, "only the message in the post holds it now"
    back = pickle.loads(must(post.recv(WAIT))[2])
    assert must(back.recv(0))[1] == 3
    back.close()
    wait_for(lambda: broker_channels() == base)
    go.send(b"")
    child.join()


def test_a_channel_that_is_over_goes_whatever_holds_were_left() -> None:
    gc.collect()
    base = broker_channels()
    channel = pipe.channel(leases=1)
    left = pickle.dumps(channel)  # for a process that is killed before it opens it
    channel.end()
    assert broker_channels() == base
    with pytest.raises((TransportError, ValueError)):
        pickle.loads(left).qsize()
    channel.end()


def test_a_closed_share_is_an_error_for_those_who_come_late() -> None:
    shared = pipe.share(b"data", [b"buffer"])
    copy = pickle.dumps(shared)
    assert pickle.loads(copy) is shared, "one object in one process"
    shared.close()
    with pytest.raises(TransportError, match="closed"):
        pickle.loads(copy).open()


def open_late(shared: Shared, report: Channel) -> None:
    try:
        shared.open()
    except TransportError as error:
        report.send(str(error).encode())


def test_a_closed_share_is_an_error_elsewhere(fork: Start, finish: Finish) -> None:
    shared, report = pipe.share(b"data"), pipe.channel()
    shared.close()
    finish(fork(open_late, shared, report))
    assert b"closed" in bytes(must(report.recv(0))[2])


class _Ends:
    """Ends who unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


class _Refuses:
    def __reduce__(self) -> tuple[object, ...]:
        raise ValueError("not this one")


@pytest.mark.parametrize("method", [each for each in METHODS if each != "fork"])
def test_a_channel_for_a_child_that_ends_before_it_opens_it_is_let_go(method: str) -> None:
    base = broker_channels()
    channel = pipe.channel()
    assert start_one_that_ends(method, channel) == 3
    assert broker_channels() == base + 1
    channel.close()
    wait_for(lambda: broker_channels() == base)


def start_one_that_ends(method: str, channel: Channel) -> int | None:
    child = tines.get_context(method).Process(target=print, args=(_Ends(), channel))
    child.start()
    child.join(WAIT)
    return child.exitcode


def start_one_that_ends_and_reap_it(channel: Channel) -> None:
    child = tines.get_context("spawn").Process(target=print, args=(_Ends(), channel))
    child.start()
    child.join(WAIT)
    assert child.pid is not None
    pipe.reap(child.pid)  # as is done of itself where this is the transport in use


@pytest.mark.skipif("fork" not in METHODS, reason="no fork here")
def test_the_same_where_the_one_that_started_it_is_not_the_owner(fork: Start) -> None:
    base = broker_channels()
    channel = pipe.channel()
    middle = fork(start_one_that_ends_and_reap_it, channel)
    channel.close()
    middle.join()
    wait_for(lambda: broker_channels() == base)


def test_a_channel_for_a_child_that_cannot_be_started_is_let_go() -> None:
    base = broker_channels()
    channel = pipe.channel()
    child = tines.get_context("spawn").Process(target=print, args=(channel, _Refuses()))
    with pytest.raises(tines.EncodeError, match="not this one"):
        child.start()
    channel.close()
    del child
    gc.collect()
    wait_for(lambda: broker_channels() == base)


def open_and_pass_on(channel: Channel) -> None:
    channel.send(pickle.dumps(channel))


def test_what_a_child_has_handed_on_outlives_it() -> None:
    channel = pipe.channel()
    child = tines.get_context("spawn").Process(target=open_and_pass_on, args=(channel,))
    child.start()
    child.join(WAIT)
    assert child.exitcode == 0
    held = pickle.loads(must(channel.recv(WAIT))[2])
    channel.close()
    assert held.qsize() == 0
