"""Where a sandbox refuses system calls that are newer than it is, there is an older way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from support.sandbox import CAN_REFUSE, REFUSE

pytestmark = pytest.mark.skipif(not CAN_REFUSE, reason="no filters of system calls here")

PROGRAM = (
    REFUSE
    + """
import signal
import sys
import time

error, method, *names = sys.argv[1:]
if __name__ == "__main__":
    refuse(*names, error=int(error))

import tines as mp

def twice(number):
    return 2 * number

def listen(ready):
    ready.send(1)
    time.sleep(1000)

def main():
    ctx = mp.get_context(method)
    for _ in range(2):
        process = ctx.Process(target=twice, args=(bytes(2_000_000),), returns=True)
        process.start()
        assert len(process.result(30)) == 4_000_000
    for verb, code in (("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)):
        reader, writer = ctx.Pipe(duplex=False)
        process = ctx.Process(target=listen, args=(writer,))
        process.start()
        reader.recv()
        getattr(process, verb)()
        process.join(30)
        assert process.exitcode == -code, process
    with ctx.Pool(2) as pool:
        assert pool.map(twice, range(5)) == [0, 2, 4, 6, 8]
        hanging = pool.apply_async(time.sleep, (1000,))
        hanging.cancel()
    queue = ctx.Queue()
    queue.put("through")
    assert queue.get() == "through"
    print("right")

if __name__ == "__main__":
    main()
"""
)


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
@pytest.mark.parametrize(
    "names",
    [
        ["memfd_create"],
        ["pidfd_send_signal"],
        ["pidfd_open"],
        ["memfd_create", "pidfd_open", "pidfd_send_signal"],
    ],
    ids="-".join,
)
def test_everything_works_without(method, names, error, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(path), str(error), method, *names],
        # Whatever insists on the native core does not know of the sandbox.
        env=os.environ | {"TMPDIR": str(tmp_path), "TINES_NATIVE": "auto"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    if "no filters here" in done.stderr:
        pytest.skip("filters of system calls are refused here")
    assert (done.returncode, done.stdout, done.stderr) == (0, "right\n", "")
    assert os.listdir(tmp_path) == ["program.py"]


WHERE = (
    REFUSE
    + """
import errno
import sys

refuse(*sys.argv[1:], error=errno.EPERM)

import tines as mp
from tines.transport import choice

with mp.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
print(choice().name, "|", choice().reason)
"""
)


@pytest.mark.parametrize(
    ("names", "transport", "words"),
    [
        (["set_robust_list"], "pipe", "does not say when the holder of a lock was killed"),
        (["madvise", "fallocate"], "pipe", "Operation not permitted"),
        (["madvise"], "ring", "works here"),
    ],
    ids=["no-robust-list", "no-pages", "older-pages"],
)
def test_the_ring_is_chosen_where_it_was_tried_out(names, transport, words, tmp_path):
    """Without ``set_robust_list``, a kill at the wrong moment would have all others hang."""
    pytest.importorskip("tines._native")
    path = tmp_path / "program.py"
    path.write_text(WHERE)
    done = subprocess.run(
        [sys.executable, str(path), *names],
        env=os.environ | {"TINES_NATIVE": "auto"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    if "no filters here" in done.stderr:
        pytest.skip("filters of system calls are refused here")
    assert (done.returncode, done.stderr) == (0, "")
    name, _, reason = done.stdout.partition(" | ")
    assert name == transport
    assert words in reason


OLDER = """
import os
import signal

for module, name in ((os, "memfd_create"), (os, "pidfd_open"), (signal, "pidfd_send_signal")):
    vars(module).pop(name, None)
"""


def test_an_interpreter_that_was_built_for_older_systems(method, tmp_path):
    """It knows no such calls, whatever the kernel has: Conda's, for one."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    (tmp_path / "sitecustomize.py").write_text(OLDER)
    done = subprocess.run(
        [sys.executable, str(path), "0", method],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "right\n", "")


UNSEEN = """
import os
import signal
import time

import tines as mp

def hold(lock, ready):
    lock.acquire()
    ready.send(1)
    time.sleep(1000)

if __name__ == "__main__":
    assert not os.path.exists("/proc/self")
    ctx = mp.get_context("fork")
    lock = ctx.Lock()
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=hold, args=(lock, writer))
    process.start()
    reader.recv()
    os.kill(process.pid, signal.SIGKILL)
    # It has ended, and stays a zombie: nobody asks how.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    print(lock.acquire(timeout=20), lock.recovered)
"""


def test_without_proc_a_zombie_is_dead(tmp_path):
    pytest.importorskip("tines._native")
    path = tmp_path / "program.py"
    path.write_text(UNSEEN)
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    try:
        if subprocess.run([*hidden, "true"], capture_output=True, timeout=20).returncode:
            pytest.skip("/proc cannot be hidden here")
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    done = subprocess.run(
        [*hidden, sys.executable, str(path)],
        env=os.environ | {"TINES_NATIVE": "require"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr
