"""Waits in pieces: Ctrl-C on Windows is heard between two waits, and few handles are taken in one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.waiting import PATIENCE, wait_for
from tines import Process, _clock, transport
from tines._ready import MOST, ROUND, in_rounds
from tines.pool import Pool

INTERRUPTED = """
import os, signal, sys, threading, time
import tines as mp

def hears_ctrl_c(call):
    seen = []

    def handler(number, frame):
        while frame is not None and frame.f_code is not call.__code__:
            frame = frame.f_back
        if frame is not None and not seen:
            seen.append(number)
            raise KeyboardInterrupt

    def interrupt():
        while not seen:
            time.sleep(0.05)
            # As the console does it, in a thread of its own.
            signal.raise_signal(signal.SIGINT) if os.name == "nt" else os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, handler)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        call()
    except KeyboardInterrupt:
        thread.join()
        return True

def in_child(queue, answer):
    answer.put(hears_ctrl_c(lambda: queue.get()))

if __name__ == "__main__":
    context = mp.get_context("spawn")
    queue, answer = context.Queue(), context.Queue()
    process = context.Process(target=in_child, args=(queue, answer))
    process.start()
    print(answer.get(), hears_ctrl_c(lambda: queue.get()))
    process.join()
    process = context.Process(target=time.sleep, args=(1000,))
    process.start()
    print(hears_ctrl_c(lambda: process.join()))
    process.kill()
    with context.Pool(1) as pool:
        print(hears_ctrl_c(lambda: pool.apply_async(time.sleep, (1000,)).get()))
"""


def test_ctrl_c_ends_every_wait(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=3 * PATIENCE
    )
    assert done.stdout.split() == ["True"] * 4, done.stderr


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Have the main thread wait in short stretches, as on Windows; return them."""
    seen: list[float | None] = []

    def stretch(deadline: float | None) -> float | None:
        seen.append(_clock._brief(deadline))
        return seen[-1]

    monkeypatch.setattr(_clock, "BRIEF", 0.01)
    monkeypatch.setattr(_clock, "stretch", stretch)
    return seen


def test_nothing_is_lost_where_waits_are_short(stretches: list[float | None]) -> None:
    channel = transport.named("pipe").channel()

    def send() -> None:
        wait_for(lambda: stretches.count(0.01) >= 3)
        channel.send(b"x")

    thread = threading.Thread(target=send)
    thread.start()
    _, _, data, _ = channel.recv(None)
    thread.join()
    assert bytes(data) == b"x"
    with Pool(1, transport=transport.named("pipe")) as pool:
        assert pool.apply_async(pow, (2, 10)).get() == 1024
        assert pool.map(abs, range(-3, 0)) == [3, 2, 1]
        # Other threads hear no signals, and wait for as long as they like.
        assert None in stretches
    process = Process(target=pow, args=(2, 10))
    process.start()
    process.join()
    assert process.exitcode == 0
    channel.close()


class Refusing:
    """Waits as Windows did before Python 3.13: some things are ready, after some looks."""

    def __init__(self, ready: set[int], looks: int) -> None:
        self.ready, self.looks = ready, looks
        self.waited: set[float | None] = set()

    def __call__(self, things: list[int], seconds: float | None) -> list[int]:
        assert len(things) <= 63, "need at most 63 handles"
        self.waited.add(seconds)
        self.looks -= 1
        return [thing for thing in things if self.looks < 0 and thing in self.ready]


@pytest.mark.parametrize("ready", [{0}, {199}, {5, MOST, 130}], ids=str)
def test_what_is_ready_is_found_among_any_number(ready: set[int]) -> None:
    wait = Refusing(ready, 20)
    found = in_rounds(list(range(200)), None, wait)
    assert found and set(found) <= ready
    assert wait.waited == {0.0, ROUND}, "it sleeps with the first ones, and looks at the others"
    assert sorted(in_rounds(list(range(200)), None, Refusing(ready, 0))) == sorted(ready)


def test_the_time_is_over_among_any_number() -> None:
    deadline = _clock.deadline_after(0.01)
    assert in_rounds(list(range(200)), deadline, Refusing(set(), 0)) == []
    assert _clock.passed(deadline)
