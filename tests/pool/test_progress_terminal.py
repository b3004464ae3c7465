"""``progress=`` in programs of their own: on a terminal, without one, interrupted, forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import os, signal, sys, threading, time
import tines

def kill_soon(go):
    go.wait()
    # The display has begun: it takes the streams when it has hidden the cursor.
    while type(sys.stdout).__module__ != "rich.file_proxy":
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

def inputs(go):
    for number in range(10**9):
        if number == 200:
            go.set()
        yield number

def naps(go):
    go.set()
    return [0.01] * 100000

if __name__ == "__main__":
    go = threading.Event()
    threading.Thread(target=kill_soon, args=(go,), daemon=True).start()
    with tines.get_context("fork").Pool(2) as pool:
        if sys.argv[1] == "map":
            pool.map(time.sleep, naps(go), progress=True)
        else:
            for _ in pool.imap(abs, inputs(go), progress=True):
                pass
"""


def _run(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        **options,
    )


def _on_a_terminal(path: Path, *arguments: str) -> tuple[int, str]:
    """Run a program with a terminal as its stdout and stderr; return its code and what it wrote."""
    main, terminal = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    try:
        process = subprocess.Popen(
            [sys.executable, str(path), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            start_new_session=True,
        )
    finally:
        os.close(terminal)
    written = b""
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:  # the last one has closed it
            break
        written += data
    os.close(main)
    return process.wait(30), written.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals to be had")
@pytest.mark.parametrize("how", ["map", "imap"])
def test_ctrl_c_leaves_the_terminal_sane(tmp_path: Path, how: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    code, written = _on_a_terminal(program, how)
    assert code in (1, -signal.SIGINT, 130)
    assert "\x1b[?25l" in written, written  # the cursor was hidden, so it was a live display
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert written.count("Traceback") == 1
    assert "KeyboardInterrupt" in written


def test_the_interpreter_ends_in_the_middle(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, time, tines\n"
        "if __name__ == '__main__':\n"
        "    pool = tines.get_context('fork').Pool(1)\n"
        "    pool.map_async(time.sleep, [100], progress=True)\n"
        "    while type(sys.stdout).__module__ != 'rich.file_proxy':\n"
        "        time.sleep(0.01)\n"
    )
    code, written = _on_a_terminal(program)
    assert code == 0, written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_a_forked_child_has_its_own_streams(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, time, tines\n"
        "def child():\n"
        "    sys.stdout.write(f'stream of {type(sys.stdout).__module__}\\n')  # at once, as lines are mixed\n"
        "    with tines.get_context('fork').Pool(1) as pool:\n"
        "        assert pool.map(abs, [1], progress=True) == [1]\n"
        "if __name__ == '__main__':\n"
        "    context = tines.get_context('fork')\n"
        "    pool = context.Pool(1)\n"
        "    result = pool.map_async(time.sleep, [100, 100], progress=True)\n"
        "    while type(sys.stdout).__module__ != 'rich.file_proxy':\n"
        "        time.sleep(0.01)\n"
        "    process = context.Process(target=child)\n"
        "    process.start()\n"
        "    process.join()\n"
        "    print('code', process.exitcode)\n"
        "    pool.terminate()\n"
    )
    code, written = _on_a_terminal(program)
    assert code == 0, written
    assert "stream of _io" in written, written
    assert "code 0" in written, written
    assert "abs: 1/1" in written  # a child writes lines, beside what its parent draws


def test_no_terminal_means_lines() -> None:
    code = (
        "import tines, time\n"
        "with tines.get_context('fork').Pool(2) as pool:\n"
        "    pool.map(abs, range(1000), progress=True)\n"
    )
    found = _run(code)
    assert found.stdout == ""
    # The last line; there are others before it where this takes more than two seconds.
    assert found.stderr.splitlines()[-1].startswith("abs: 1,000/1,000, ")
    assert "\x1b" not in found.stderr


def test_plain_where_rich_is_absent(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import importlib.util, tines\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'rich' else find(name)\n"
        "with tines.get_context('fork').Pool(2) as pool:\n"
        "    pool.map(abs, range(1000), progress=True)\n"
    )
    _, written = _on_a_terminal(program)
    assert "abs: 1,000/1,000, " in written
    assert "\x1b" not in written


def test_off_imports_nothing() -> None:
    code = (
        "import sys, tines\n"
        "with tines.get_context('fork').Pool(1) as pool:\n"
        "    pool.map(abs, range(10))\n"
        "    list(pool.imap(abs, range(10)))\n"
        "print([name for name in ('rich', 'tines.progress.live', 'tines.progress.options') "
        "if name in sys.modules])\n"
    )
    assert _run(code).stdout == "[]\n"
