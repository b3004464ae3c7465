"""Threads that ``threading`` does not know of."""

from __future__ import annotations

import _thread
import subprocess
import sys
import threading

import pytest

import tines as mp
from support.waiting import PATIENCE
from tines import transport
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


def test_an_interpreter_without_daemon_threads_is_refused_in_words(monkeypatch) -> None:
    monkeypatch.setattr(_thread, "daemon_threads_allowed", lambda: False, raising=False)
    with pytest.raises(RuntimeError, match="isolated sub-interpreter"):
        mp.Process(target=print).start()
    with pytest.raises(RuntimeError, match="isolated sub-interpreter"):
        transport.choice.__wrapped__()


ISOLATED = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

for call in ("Pool(1)", "Process(target=print).start()", "Queue()", "Lock()", "Manager()"):
    lines = ["import tines", "try:", f"  tines.{call}", "except RuntimeError as error:"]
    interpreter = interpreters.create()
    interpreters.run_string(interpreter, "\\n".join([*lines, "  print(error, flush=True)"]))
    interpreters.destroy(interpreter)
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="they are not isolated so much there")
def test_isolated_interpreters() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ISOLATED], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("isolated sub-interpreter") == 5
