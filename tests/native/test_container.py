"""In a container with little memory a sender is refused; nobody is killed by the kernel.

The container is a control group of version 1, mounted where programs in one see theirs. That takes
root, in a mount namespace that nobody else sees; where it is not possible the tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tines._native", reason="no native core here")

LIMIT = 160 * 2**20

CONTAINER = """\
set -e
mount -t tmpfs none /sys/fs/cgroup
mkdir /sys/fs/cgroup/all /sys/fs/cgroup/memory
mount -t cgroup -o memory none /sys/fs/cgroup/all
group=/sys/fs/cgroup/all/tines-test-$$
mkdir $group
trap 'echo $$ > /sys/fs/cgroup/all/cgroup.procs; rmdir $group' EXIT
echo $1 > $group/memory.limit_in_bytes
shift
mount --bind $group /sys/fs/cgroup/memory
echo $$ > $group/cgroup.procs
"$@"
"""


def contained(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", CONTAINER, "container", str(LIMIT), *command],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
    )


def can_contain() -> bool:
    return (
        getattr(os, "geteuid", lambda: 1)() == 0
        and shutil.which("unshare") is not None
        and contained("true").returncode == 0
    )


@pytest.fixture(scope="module", autouse=True)
def container() -> None:
    if not can_contain():
        pytest.skip("no memory control group can be made here")


def run(program: str, directory: Path) -> str:
    script = directory / "program.py"
    script.write_text(program)
    finished = contained(sys.executable, str(script))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


FILL = """\
import tines as mp

def fill(queue, item):
    sent = 0
    try:
        while True:
            queue.put(item)
            sent += 1
    except MemoryError as error:
        assert "max_bytes" in str(error)
    return sent

"""


@pytest.mark.watchdog(120)
@pytest.mark.parametrize("size", [8 * 2**20, 100_000, 1000])
def test_the_sender_is_refused_and_what_was_sent_arrives(size: int, tmp_path: Path) -> None:
    printed = run(
        FILL + f"queue, item = mp.Queue(), b'x' * {size}\n"
        "sent = fill(queue, item)\n"
        "assert all(queue.get() == item for _ in range(sent)) and queue.empty()\n"
        "queue.put(item)\n"
        "print(sent * len(item), queue.get() == item)\n",
        tmp_path,
    )
    sent, works = printed.split()
    # Refused because memory is short, and not long before that.
    assert LIMIT // 4 < int(sent) < LIMIT
    assert works == "True"


@pytest.mark.watchdog(120)
def test_several_senders_at_once_are_refused(tmp_path: Path) -> None:
    printed = run(
        FILL + "queue, item = mp.Queue(), b'x' * 2**20\n"
        "senders = [mp.Process(target=fill, args=(queue, item), returns=True) for _ in range(4)]\n"
        "for sender in senders: sender.start()\n"
        "sent = sum(sender.result() for sender in senders)\n"
        "assert all(queue.get() == item for _ in range(sent)) and queue.empty()\n"
        "print(sent > 0)\n",
        tmp_path,
    )
    assert printed == "True\n"


@pytest.mark.watchdog(120)
def test_senders_that_have_paused_know_that_others_have_taken_the_rest(tmp_path: Path) -> None:
    printed = run(
        FILL + "def pause_and_fill(queue, item, begun, full):\n"
        "    queue.put(item)\n"
        "    begun.release()\n"
        "    full.wait()\n"
        "    return 1 + fill(queue, item)\n"
        "queue, item, begun, full = mp.Queue(), b'x' * 2**20, mp.Semaphore(0), mp.Event()\n"
        "args = queue, item, begun, full\n"
        "senders = [mp.Process(target=pause_and_fill, args=args, returns=True) for _ in range(4)]\n"
        "for sender in senders: sender.start()\n"
        "for sender in senders: begun.acquire()\n"
        "sent = fill(queue, item)\n"
        "full.set()\n"
        "sent += sum(sender.result() for sender in senders)\n"
        "assert all(queue.get() == item for _ in range(sent)) and queue.empty()\n"
        "print(sent > 4)\n",
        tmp_path,
    )
    assert printed == "True\n"


@pytest.mark.watchdog(120)
def test_a_result_without_room_costs_its_own_task(tmp_path: Path) -> None:
    printed = run(
        "import tines as mp\n"
        "def worker_name(): return mp.current_process().name\n"
        "def large(size): return b'x' * size\n"
        "if __name__ == '__main__':\n"
        "    with mp.Pool(1) as pool:\n"
        "        worker = pool.apply(worker_name)\n"
        "        try:\n"
        "            pool.apply(large, (90 * 2**20,))\n"
        "        except MemoryError as error:\n"
        "            print(error)\n"
        "        print(pool.apply(worker_name) == worker)\n",
        tmp_path,
    )
    assert "not enough memory is left" in printed
    assert printed.endswith("True\n")
