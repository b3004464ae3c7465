"""``socket.setdefaulttimeout()`` is for the program's own sockets: ours wait as before.

The program below sets one that has long been over when the next child, task or message comes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import tines as mp

PROGRAM = """
    import socket
    import sys
    import threading
    import time

    socket.setdefaulttimeout(0.1)  # in the server and the children as well, which import this

    import tines as mp

    WAIT = 0.4

    def echo(ask, answer):
        for item in iter(ask.get, None):
            answer.put(item)

    def ident():
        return threading.get_ident() and 5

    def main(method):
        ctx = mp.get_context(method)
        for _ in range(3):
            process = ctx.Process(target=time.sleep, args=(WAIT,), returns=True)
            process.start()
            assert process.result(30) is None and process.exitcode == 0
        ask, answer = ctx.Queue(), ctx.Queue()
        process = ctx.Process(target=echo, args=(ask, answer))
        process.start()
        with ctx.Pool(1) as pool, ctx.Manager() as manager:
            for number in range(2):
                time.sleep(WAIT)
                ask.put(number)
                assert answer.get(timeout=30) == number
                assert pool.apply_async(ident).get(30) == 5
                shared = manager.list([number])
                assert shared[0] == number
            # A message that comes late, and a full queue that is emptied late.
            bounded = ctx.Queue(1)
            bounded.put(0)
            threading.Timer(WAIT, bounded.get).start()
            bounded.put(1)
            threading.Timer(WAIT, ask.put, ("late",)).start()
            assert answer.get() == "late"
        ask.put(None)
        process.join()
        assert process.exitcode == 0
        print("right", socket.getdefaulttimeout())

    if __name__ == "__main__":
        main(sys.argv[1])
"""


@pytest.mark.parametrize("native", ["auto", "off"])
def test_a_default_timeout_of_sockets_is_not_ours(method, native, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, str(path), method],
        env=os.environ | {"TINES_NATIVE": native},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "right 0.1\n", "")


@pytest.mark.skipif("forkserver" not in mp.get_all_start_methods(), reason="no descriptors here")
def test_a_descriptor_that_others_share_stays_as_it_is():
    """Another process may be about to read from it."""
    import fcntl
    import socket

    from tines import _sockets

    mine, other = socket.socketpair()
    fd = os.dup(mine.fileno())
    settings = []
    socket.setdefaulttimeout(5)
    try:
        adopted = _sockets.adopt(fd)
        settings.append(adopted.gettimeout())
        pair = _sockets.pair()
        settings += [end.gettimeout() for end in pair]
        settings.append(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)
    finally:
        socket.setdefaulttimeout(None)
    assert settings == [None, None, None, 0]
    for end in (adopted, mine, other, *pair):
        end.close()
