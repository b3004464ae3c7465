"""Processes that are killed, stopped or forked at the wrong moment; nobody else may notice.

``fork`` only: by the time of the kill it makes no difference how a process was started.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import random
import signal
import threading
import time
from typing import Any

import pytest

from channel_tools import WAIT, Finish, must
from support.processes import Start
from support.waiting import wait_for
from tines.errors import QueueShutDown
from tines.transport.contract import Channel, Transport

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")


def kill(process: Any) -> None:
    process.kill()
    process.join(WAIT)
    assert process.exitcode == -signal.SIGKILL


# Children.


def send_for_ever(channel: Channel, sent: Channel, size: int, batch: int) -> None:
    """Send numbered messages; after each call say how many are certainly sent."""
    for n in itertools.count(0, batch):
        if batch == 1:
            channel.send(b"d" * size, [b"b" * size], tag=n)
        else:
            channel.send_many([(0, n + i, b"d" * size, [b"b" * size]) for i in range(batch)])
        sent.send(b"", tag=n + batch)


def receive_for_ever(channel: Channel, received: Channel) -> None:
    while True:
        received.send(b"", tag=must(channel.recv())[1])


def block_in_recv(channel: Channel, lease: int) -> None:
    channel.recv(lease=lease)


def block_in_send(channel: Channel) -> None:
    channel.send(b"of the dead", tag=666)


def take_and_die(channel: Channel, slot: int, at: int, count: int) -> None:
    """Take one message under a lease, and be killed while item ``at`` of ``count`` runs."""
    must(channel.recv(WAIT, lease=slot))
    for n, _ in enumerate(channel.ticking(range(count), slot), 1):
        if n == at:
            os.kill(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def work_under_lease(tasks: Channel, results: Channel, slot: int) -> None:
    with contextlib.suppress(QueueShutDown):
        while True:
            message = must(tasks.recv(lease=slot))
            for _ in tasks.ticking(range(3), slot):
                pass
            results.send(b"", tag=message[1])
            tasks.release(slot)


def receive_once(channel: Channel, answers: Channel) -> None:
    message = must(channel.recv(WAIT))
    answers.send(message[2], message[3], tag=message[1])


def receive_to_the_end(channel: Channel, answers: Channel) -> None:
    with contextlib.suppress(QueueShutDown):
        while True:
            message = must(channel.recv(WAIT))
            answers.send(b"", tag=message[1])


def fork_again(channel: Channel, answers: Channel) -> None:
    """Use both channels, then from a forked child of its own as well."""
    answers.send(b"", tag=must(channel.recv(WAIT))[1])
    pid = os.fork()
    if pid == 0:
        try:
            answers.send(b"", tag=must(channel.recv(WAIT))[1])
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    answers.send(b"", tag=must(channel.recv(WAIT))[1])


# Killed senders.


@pytest.mark.parametrize("size", [0, 1000, 300_000])
@pytest.mark.parametrize("batch", [1, 10])
def test_a_killed_sender_loses_nothing_it_sent(
    transport: Transport, fork: Start, size: int, batch: int
) -> None:
    for _ in range(4):
        channel, sent = transport.channel(), transport.channel()
        child = fork(send_for_ever, channel, sent, size, batch)
        while must(sent.recv(WAIT))[1] < 30:
            pass
        kill(child)
        transport.reap(child.pid)  # else what it wrote last may still be on its way
        certain = 30
        while (report := sent.recv(0)) is not None:
            certain = report[1]
        tags = []
        while (message := channel.recv(0.2)) is not None:
            tags.append(message[1])
            assert bytes(message[2]) == b"d" * size, "a message is visible whole or never"
            assert [bytes(buffer) for buffer in message[3]] == [b"b" * size]
        assert tags == list(range(len(tags)))
        assert certain <= len(tags) <= certain + batch
        channel.send(b"goes on", tag=7)
        assert must(channel.recv(0))[1] == 7


def test_a_killed_blocked_sender_is_forgotten(transport: Transport, fork: Start) -> None:
    channel = transport.channel(max_items=1)
    channel.send(b"", tag=1)
    child = fork(block_in_send, channel)
    wait_for(lambda: channel.statistics().waiting_senders == 1)
    kill(child)
    transport.reap(child.pid)
    assert must(channel.recv(0))[1] == 1
    assert channel.recv(0.2) is None, "what it had not sent never existed"
    assert channel.send(b"", tag=2, timeout=0) >= 0
    assert must(channel.recv(0))[1] == 2


# Killed receivers.


@pytest.mark.parametrize("lease", [-1, 0])
def test_a_killed_blocked_receiver_takes_nothing(
    transport: Transport, fork: Start, finish: Finish, lease: int
) -> None:
    channel, answers = transport.channel(leases=1), transport.channel()
    victims = [fork(block_in_recv, channel, lease) for _ in range(2)]
    wait_for(lambda: channel.statistics().waiting_receivers == 2)
    for victim in victims:
        kill(victim)
        transport.reap(victim.pid)
    channel.send(b"x" * 100_000, tag=3)
    heir = fork(receive_once, channel, answers)
    assert must(answers.recv(WAIT))[1] == 3
    finish(heir)
    assert channel.lease(0) is None
    assert channel.qsize() == 0


@pytest.mark.parametrize("at", [1, 2, 57, 1000])
def test_a_lease_is_exact_after_a_kill(transport: Transport, fork: Start, at: int) -> None:
    channel = transport.channel(leases=3)
    for n in range(3):
        channel.send(b"task", tag=100 + n)
    before = time.monotonic()
    child = fork(take_and_die, channel, 2, at, 1000)
    child.join(WAIT)
    lease = channel.lease(2)
    assert child.exitcode == -signal.SIGKILL
    assert lease is not None
    assert (lease.tag, lease.progress) == (100, at)
    assert before <= lease.since <= time.monotonic()
    assert channel.lease(0) is None
    assert channel.lease(1) is None
    transport.reap(child.pid)
    assert channel.lease(2) is not None, "only release() empties a slot"
    channel.release(2)
    assert channel.lease(2) is None
    assert channel.qsize() == 2


def test_killed_consumers_leave_each_message_accounted_for(
    transport: Transport, fork: Start
) -> None:
    """Workers die at random: each task is answered, under a dead one's lease, or still queued."""
    chance = random.Random(311)
    tasks, results = transport.channel(leases=1), transport.channel()
    kills, each = 12, 120
    count = kills * each
    answered: list[int] = []
    lost: list[int] = []

    def collect() -> None:
        while (message := results.recv(0)) is not None:
            answered.append(message[1])

    for round_ in range(kills):
        for n in range(round_ * each, (round_ + 1) * each):
            tasks.send(b"", tag=n)
        worker = fork(work_under_lease, tasks, results, 0)
        for _ in range(chance.randrange(1, 60)):
            message = results.recv(WAIT)
            answered.append(must(message)[1])
        time.sleep(chance.random() * 0.002)  # the moment of the kill varies on purpose
        kill(worker)
        lease = tasks.lease(0)
        transport.reap(worker.pid)
        collect()
        if lease is not None and lease.tag not in answered:
            assert 0 <= lease.progress <= 3
            lost.append(lease.tag)
        tasks.release(0)
    while (message := tasks.recv(0.2)) is not None:
        answered.append(message[1])
    assert len(lost) <= kills
    assert sorted(answered + lost) == list(range(count)), "each exactly once"


def test_killed_receivers_lose_at_most_what_they_took(transport: Transport, fork: Start) -> None:
    """Without leases a message dies only with a process whose ``recv`` had returned it."""
    channel, received = transport.channel(), transport.channel()
    kills, each = 10, 100
    count = kills * each
    tags: list[int] = []
    for round_ in range(kills):
        for n in range(round_ * each, (round_ + 1) * each):
            channel.send(b"", tag=n)
        child = fork(receive_for_ever, channel, received)
        tags += [must(received.recv(WAIT))[1] for _ in range(15)]
        kill(child)
        transport.reap(child.pid)
        while (message := received.recv(0)) is not None:
            tags.append(message[1])
    while (message := channel.recv(0.2)) is not None:
        tags.append(message[1])
    assert len(tags) == len(set(tags)), "none twice"
    assert set(tags) <= set(range(count))
    assert len(tags) >= count - kills, "each victim had at most one"


# Stopped peers.


def test_a_stopped_receiver_blocks_nobody_else(
    transport: Transport, fork: Start, finish: Finish
) -> None:
    channel, answers = transport.channel(), transport.channel()
    stopped = fork(receive_to_the_end, channel, answers)
    wait_for(lambda: channel.statistics().waiting_receivers == 1)
    os.kill(stopped.pid, signal.SIGSTOP)
    os.waitpid(stopped.pid, os.WUNTRACED)
    try:
        # The first may go to the stopped one; it is large, so that nothing hides it in a buffer.
        for n in range(30):
            assert channel.send(b"", [b"x" * 400_000], tag=n, timeout=30) >= 0
        other = fork(receive_to_the_end, channel, answers)
        tags = [must(answers.recv(WAIT))[1] for _ in range(29)]
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    tags.append(must(answers.recv(WAIT))[1])
    assert sorted(tags) == list(range(30))
    channel.shutdown()
    finish(stopped, other)


@pytest.mark.parametrize("lease", [-1, 0])
def test_what_a_stopped_receiver_never_saw_is_not_lost(
    transport: Transport, fork: Start, lease: int
) -> None:
    channel = transport.channel(leases=1)
    stopped = fork(block_in_recv, channel, lease)
    wait_for(lambda: channel.statistics().waiting_receivers == 1)
    os.kill(stopped.pid, signal.SIGSTOP)
    os.waitpid(stopped.pid, os.WUNTRACED)
    for n in range(3):
        channel.send(b"", tag=n)
    kill(stopped)
    transport.reap(stopped.pid)
    assert channel.lease(0) is None
    assert [must(channel.recv(WAIT))[1] for _ in range(3)] == [0, 1, 2]


def hold_a_fork(channel: Channel, ready: Channel) -> None:
    """Use the channel, fork a child that does nothing, and block in ``recv``."""
    channel.qsize()
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    ready.send(b"", tag=pid)
    channel.recv()


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="no waitid here")
def test_a_dead_receivers_own_child_hides_nothing(transport: Transport, fork: Start) -> None:
    """The child inherited whatever its parent had open; its parent's death is seen all the same."""
    channel, ready = transport.channel(), transport.channel()
    parent = fork(hold_a_fork, channel, ready)
    grandchild = must(ready.recv(WAIT))[1]
    try:
        wait_for(lambda: channel.statistics().waiting_receivers == 1)
        parent.kill()
        # Not join(): the grandchild has the other end of the sentinel.
        os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOWAIT)
        transport.reap(parent.pid)
        channel.send(b"", tag=1)
        assert must(channel.recv(WAIT))[1] == 1
    finally:
        os.kill(grandchild, signal.SIGKILL)


# Forks.


def test_fork_of_a_parent_with_busy_threads(
    transport: Transport, fork: Start, finish: Finish
) -> None:
    """Fork again and again while threads are inside every call; each child works."""
    channel, answers = transport.channel(), transport.channel()
    busy = transport.channel(max_items=2)
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            busy.send(b"x" * 1000, timeout=0.01)

    def receive() -> None:
        while not stop.is_set():
            busy.recv(0.01)

    threads = [threading.Thread(target=target) for target in (send, receive, send, receive)]
    for thread in threads:
        thread.start()
    try:
        for n in range(10):
            child = fork(receive_once, channel, answers)
            channel.send(b"", tag=n)
            assert must(answers.recv(WAIT))[1] == n
            finish(child)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_fork_of_a_fork_has_its_own_way(
    transport: Transport, fork: Start, finish: Finish
) -> None:
    channel, answers = transport.channel(), transport.channel()
    child = fork(fork_again, channel, answers)
    for n in range(3):
        channel.send(b"", tag=n)
        assert must(answers.recv(WAIT))[1] == n
    finish(child)


def make_own(transport: Transport, answers: Channel) -> None:
    """A child makes channels of its own, also one that its own child uses."""
    own, back = transport.channel(leases=1), transport.channel()
    own.send(b"own", tag=1)
    assert must(own.recv(0, lease=0))[1] == 1
    pid = os.fork()
    if pid == 0:
        try:
            receive_once(own, back)
        finally:
            os._exit(0)
    own.send(b"", tag=2)
    tag = must(back.recv(WAIT))[1]
    os.waitpid(pid, 0)
    answers.send(b"", tag=tag)


def test_a_forked_child_makes_channels_of_its_own(
    transport: Transport, fork: Start, finish: Finish
) -> None:
    answers = transport.channel()
    child = fork(make_own, transport, answers)
    assert must(answers.recv(WAIT))[1] == 2
    finish(child)


def test_many_channels_leave_nothing(transport: Transport, fork: Start, finish: Finish) -> None:
    """Channels come and go, used here, in children, and dropped in every order."""
    answers = transport.channel()
    for n in range(8):
        channel = transport.channel()
        channel.fileno()
        child = fork(receive_once, channel, answers)
        channel.send(b"", tag=n)
        if n % 2:
            channel.close()
        del channel
        gc.collect()
        assert must(answers.recv(WAIT))[1] == n
        finish(child)
