"""Threads that ``threading`` does not know of."""

from __future__ import annotations

import _thread
import threading

from tines._threads import PlainThread


def test_a_thread_knows_itself_before_its_start_has_returned(monkeypatch) -> None:
    """Whoever starts it may have to wait for a core while it runs already."""
    seen = []
    ended = threading.Event()

    def run() -> None:
        seen.append(thread.is_current)
        ended.set()

    def start(*arguments):
        ident = original(*arguments)
        assert ended.wait(20)
        return ident

    original = _thread.start_new_thread
    thread = PlainThread(run)
    monkeypatch.setattr(_thread, "start_new_thread", start)
    thread.start()
    monkeypatch.undo()
    assert thread.join() and seen == [True] and not thread.is_current
