"""Programs of their own: what happens to a pool at the end of an interpreter, and by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from pool_tools import lives
from support.waiting import wait_for
from tines.transport import choice
from tines.transport.contract import Transport

HERE = Path(__file__).parent


def run(tmp_path: Path, transport: Transport, code: str, **options: Any) -> subprocess.Popen[str]:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "import tines as mp\n"
        "from tines.pool import Pool\n"
        "from tines.transport import named\n"
        "from pool_tasks import *\n" + textwrap.dedent(code)
    )
    source = HERE.parent.parent / "src"
    path = os.pathsep.join([str(source), str(HERE)])
    environment = {**os.environ, "PYTHONPATH": path, "TRANSPORT": transport.name}
    return subprocess.Popen(
        [sys.executable, "-W", "default", str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        **options,
    )


def test_a_pool_that_is_never_closed_does_not_hang_the_interpreter(
    tmp_path: Path, transport: Transport, method: str
) -> None:
    code = f"""
    if __name__ == "__main__":
        pool = mp.get_context({method!r}).Pool(2, transport=named(os.environ["TRANSPORT"]))
        print(pool.map(square, range(3)))
        print(*sorted(set(pool.map(pid, range(40), chunksize=1))))
        pool.apply_async(nap, (60,))
        pool.map_async(nap, [60] * 10)
        iterator = pool.imap(nap, (60 for _ in range(1000)))
    """
    program = run(tmp_path, transport, code)
    out, err = program.communicate(timeout=40)
    assert program.returncode == 0, err
    first, second = out.splitlines()
    assert first == "[0, 1, 4]"
    assert "Traceback" not in err
    wait_for(lambda: not any(lives(int(worker)) for worker in second.split()))


INTERRUPTED = {
    "get": "pool.apply_async(nap, (60,)).get()",
    "apply": "pool.apply(nap, (60,))",
    "map": "pool.map(nap, [60] * 10)",
    "imap": "list(pool.imap(nap, [60] * 10))",
    "imap of a generator": "list(pool.imap_unordered(nap, (60 for _ in range(10))))",
    "join": "pool.apply_async(nap, (60,)); pool.close(); pool.join()",
}


@pytest.mark.parametrize("where", INTERRUPTED)
@pytest.mark.parametrize("managed", [True, False])
def test_ctrl_c(tmp_path: Path, transport: Transport, where: str, managed: bool) -> None:
    body = f"with pool:\n            {INTERRUPTED[where]}" if managed else f"{INTERRUPTED[where]}"
    code = f"""
    if __name__ == "__main__":
        pool = Pool(2, transport=named(os.environ["TRANSPORT"]))
        print(*sorted(set(pool.map(pid, range(40), chunksize=1))), flush=True)
        {body}
    """
    program = run(tmp_path, transport, code)
    assert program.stdout is not None
    workers = [int(worker) for worker in program.stdout.readline().split()]
    assert workers
    time.sleep(0.3)
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=45)  # the naps take longer
    assert program.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    assert len(re.findall(r"^KeyboardInterrupt", err, re.MULTILINE)) == 1
    wait_for(lambda: not any(lives(worker) for worker in workers))


@pytest.mark.parametrize("where", ["get", "imap", "join"])
def test_ctrl_c_under_every_start_method(
    tmp_path: Path, transport: Transport, method: str, where: str
) -> None:
    code = f"""
    if __name__ == "__main__":
        pool = mp.get_context({method!r}).Pool(2, transport=named(os.environ["TRANSPORT"]))
        print(*sorted(set(pool.map(pid, range(40), chunksize=1))), flush=True)
        {INTERRUPTED[where]}
    """
    program = run(tmp_path, transport, code)
    assert program.stdout is not None
    workers = [int(worker) for worker in program.stdout.readline().split()]
    assert workers
    time.sleep(0.3)
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=30)
    assert program.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    wait_for(lambda: not any(lives(worker) for worker in workers))


def test_after_ctrl_c_the_pool_goes_on(tmp_path: Path, transport: Transport) -> None:
    if transport.name == "pipe":
        pytest.skip("an interrupt in the midst of the pipe transport's own code can break it")
    code = """
    if __name__ == "__main__":
        pool = Pool(2, transport=named(os.environ["TRANSPORT"]))
        rounds = 0
        interrupted = 0
        armed = False
        def raise_where_it_is_caught(*_):
            global armed
            if armed:
                armed = False
                raise KeyboardInterrupt
        signal.signal(signal.SIGINT, raise_where_it_is_caught)
        import threading
        stop = threading.Event()
        def interrupt():
            while not stop.wait(0.01):
                os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=interrupt)
        results = []
        thread.start()
        until = time.monotonic() + 2
        while time.monotonic() < until or interrupted <= 10 or rounds <= 10:
            try:
                armed = True
                while True:
                    results.append((pool.apply_async(square, (rounds,)), rounds * rounds))
                    rounds += 1
                    assert pool.apply(square, (7,)) == 49
                    assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
            except KeyboardInterrupt:
                interrupted += 1
        stop.set()
        thread.join()
        assert all(result.get(timeout=30) == value for result, value in results), "lost"
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
        pool.close()
        pool.join()
        print("done")
    """
    program = run(tmp_path, transport, code)
    out, err = program.communicate(timeout=55)
    assert out.split() == ["done"], err


def test_workers_go_when_their_parent_is_killed(
    tmp_path: Path, transport: Transport, method: str
) -> None:
    code = f"""
    if __name__ == "__main__":
        pool = mp.get_context({method!r}).Pool(2, transport=named(os.environ["TRANSPORT"]))
        print(*sorted(set(pool.map(pid, range(40), chunksize=1))), flush=True)
        pool.map(nap, [60] * 10)
    """
    program = run(tmp_path, transport, code)
    assert program.stdout is not None
    workers = [int(worker) for worker in program.stdout.readline().split()]
    program.kill()
    wait_for(lambda: not any(lives(worker) for worker in workers))
    program.communicate()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this interpreter does not mind threads")
@pytest.mark.skipif(choice().name != "ring", reason="the pipe has a thread of its own")
def test_pools_fork_a_program_with_one_thread(tmp_path: Path) -> None:
    program = """
    import tines as mp

    if __name__ == "__main__":
        for _ in range(5):
            with mp.get_context("fork").Pool(2) as pool:
                print(pool.map(abs, [-1, -2]))
    """
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("[1, 2]\n" * 5, "", 0)
