"""Each call of a proxy gets its own reply, whatever signal handlers do in the midst of others."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading

import pytest

import tines as mp
from support.waiting import PATIENCE, wait_for
from tines import managers
from tines.managers import BaseProxy, SyncManager

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")


class Server:
    """In the server: interrupts its caller in the midst of a call, which it answers when it may."""

    def __init__(self):
        self.may = threading.Event()

    def interrupt(self, pid):
        os.kill(pid, signal.SIGUSR1)
        assert self.may.wait(PATIENCE)
        self.may.clear()
        return "late"

    def answer(self):
        self.may.set()

    def echo(self, value):
        return value

    def odd(self):
        return lambda: None


class Manager(SyncManager):
    pass


Manager.register("Server", Server)


class Interrupted(BaseException):
    pass


def _raise(*_):
    raise Interrupted


@contextlib.contextmanager
def handled_by(handler):
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture(params=["pickle", "xmlrpclib"])
def manager(request):
    with Manager(serializer=request.param, ctx=mp.get_context("fork")) as manager:
        yield manager


@pytest.fixture
def pickling():
    with Manager(ctx=mp.get_context("fork")) as manager:
        yield manager


def test_an_interrupted_calls_reply_is_not_the_next_calls(manager):
    server = manager.Server()
    with handled_by(_raise), pytest.raises(Interrupted):
        server.interrupt(os.getpid())
    assert server.echo(1) == 1  # at once, while the server is still at the other
    server.answer()
    assert [server.echo(value) for value in range(3)] == [0, 1, 2]


def test_a_handlers_call_has_its_own_reply(manager):
    server = manager.Server()
    seen = []

    def handler(*_):
        seen.append(server.echo(1))
        server.answer()

    with handled_by(handler):
        assert server.interrupt(os.getpid()) == "late"
    assert seen == [1]
    assert server.echo(2) == 2


def test_a_thread_that_holds_a_lock_keeps_it(pickling):
    """The server knows it by its connection: with a new one it could not give the lock back."""
    lock, server = pickling.RLock(), pickling.Server()
    with handled_by(_raise), lock:
        with pytest.raises(Interrupted):
            server.interrupt(os.getpid())
        in_another_thread(server.answer)
    assert server.echo(1) == 1
    assert in_another_thread(lambda: lock.acquire(timeout=PATIENCE)) is True


def test_a_condition_can_be_left_after_an_interrupted_wait(pickling):
    condition, server = pickling.Condition(), pickling.Server()

    def notify():
        with condition:
            condition.notify()

    with handled_by(_raise), pytest.raises(Interrupted), condition:
        other = threading.Thread(target=notify, daemon=True)
        with contextlib.ExitStack() as stack:
            # What interrupts the wait can only be sent while the lock is free: from another thread.
            sender = threading.Thread(target=interrupt_waiting, args=(condition,), daemon=True)
            stack.callback(sender.join, PATIENCE)
            stack.callback(other.start)
            sender.start()
            condition.wait()
    other.join(PATIENCE)
    assert server.echo(1) == 1
    assert in_another_thread(lambda: condition.acquire(timeout=PATIENCE)) is True


def interrupt_waiting(condition):
    with condition:  # it is free, so the other waits
        os.kill(os.getpid(), signal.SIGUSR1)


def test_a_lock_granted_to_an_interrupted_call_is_given_back(pickling):
    lock = pickling.Lock()
    lock.acquire()
    blocked = pickling.Server()

    def interrupt():
        os.kill(os.getpid(), signal.SIGUSR1)

    with handled_by(_raise), pytest.raises(Interrupted):
        timer = threading.Thread(target=when_in_acquire, args=(interrupt,), daemon=True)
        timer.start()
        lock.acquire()
    assert blocked.echo(1) == 1
    in_another_thread(lock.release)
    assert lock.acquire(timeout=PATIENCE) is True
    lock.release()


def when_in_acquire(then):
    main = threading.main_thread().ident

    def waits():
        frame = sys._current_frames().get(main)
        names = []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        return "poll" in names and "acquire" in names

    wait_for(waits)
    then()


def test_what_cannot_be_pickled_leaves_the_connection_alone(pickling):
    lock, values, server = pickling.RLock(), pickling.list(), pickling.Server()
    with lock:
        with pytest.raises((pickle.PicklingError, AttributeError)):
            values.append(lambda: None)
        with pytest.raises(mp.managers.RemoteError):
            server.odd()
        with pytest.raises(KeyError):
            pickling.dict().pop("x")
    assert in_another_thread(lambda: lock.acquire(timeout=PATIENCE)) is True


def in_another_thread(call):
    results = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return results[0]


def test_all_proxies_are_of_our_kind(pickling):
    import multiprocessing.managers as std

    made = [pickling.dict(), pickling.list(), pickling.Queue(), pickling.Value("i", 1)]
    made += [pickling.Condition(), pickling.Namespace(), pickling.Pool(1), pickling.Server()]
    for proxy in made:
        assert isinstance(proxy, BaseProxy) and isinstance(proxy, std.BaseProxy)
        again = pickle.loads(_pickled(proxy))
        assert type(again) is type(proxy)
    assert isinstance(made[0], std.DictProxy) and type(made[0]) is managers.DictProxy
    assert issubclass(managers.ConditionProxy, managers.AcquirerProxy)
    kind = managers.MakeProxyType("Mine", ("echo",))
    assert issubclass(kind, BaseProxy) and managers.MakeProxyType("Mine", ("echo",)) is kind


def _pickled(proxy):
    from multiprocessing.reduction import ForkingPickler

    return bytes(ForkingPickler.dumps(proxy))
