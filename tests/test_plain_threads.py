"""Threads that ``threading`` does not know of."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from tines import _threads
from tines._threads import PlainThread


def test_whose_number_was_given_to_another_thread_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ended long ago, and the numbers of this system have come round."""
    thread = PlainThread(lambda: None)
    thread.start()
    assert thread.join()
    thread._number = threading.get_native_id()
    looks = iter((0.0, 0.0, _threads.LINGERS / 2, _threads.LINGERS + 1))
    monkeypatch.setattr(_threads, "time", SimpleNamespace(monotonic=lambda: next(looks)))
    assert thread.join()
    assert next(looks, None) is None
