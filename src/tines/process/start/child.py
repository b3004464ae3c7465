"""Where a new interpreter begins: as a spawned child, or as a spare that becomes one.

It imports what a child needs and nothing else, as each child pays for it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from multiprocessing import resource_tracker

from tines.process import stacks  # noqa: F401  (each child needs them)
from tines.process.lifecycle import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["spawn_main", "wait_for_job"]


def spawn_main(payload_fd: int, liveness_fd: int, tracker_fd: int) -> None:
    """Run in a new interpreter that was started for one child."""
    collect_from_now_on()
    resource_tracker._resource_tracker._fd = tracker_fd  # type: ignore[attr-defined]
    sys.exit(launch.run(payload_fd, liveness_fd))


def collect_from_now_on() -> None:
    """Switch the garbage collector on, for what the program makes.

    What exists by now is the imported modules of the standard library and ours. They last until the
    interpreter ends, and to look through them each time, and three times at the end, takes a sixth
    of the time of a child that does nothing.
    """
    gc.freeze()
    gc.enable()


def wait_for_job(job_fd: int, blocks_interrupts: bool, *ready: str) -> None:
    """Run in a spare (:mod:`tines.process.start.spares`): be ready, wait, and become the child.

    It is born with SIGINT blocked.

    Args:
        job_fd: Where the job will come from.
        blocks_interrupts: Whether its parent blocks SIGINT.
        ready: What it is to import.
    """
    import struct
    from multiprocessing import spawn  # noqa: F401

    from tines import _sockets
    from tines.process.start import forkserver_client

    launch.import_ready(ready)
    number = struct.calcsize("=i")
    with _sockets.adopt(job_fd) as source:
        interrupts = _Interrupts(job_fd, blocks_interrupts)
        job, fds = forkserver_client.receive(
            source, forkserver_client.MAX_FDS * number, forkserver_client.MAX_FDS
        )
        interrupts.leave()
    if not job:
        os._exit(0)
    if interrupts.noted:
        signal.raise_signal(signal.SIGINT)
    numbers = struct.unpack(f"={len(job) // number}i", job)
    _renumber(fds, numbers)
    spawn_main(*numbers[:3])


class _Interrupts:
    """What SIGINT does in a spare: nothing, until there is a job; then the signal is for that.

    The parent lets go of its end of the socket when it has given the job, so from then on there is
    something to read, whether or not the job was taken.

    Attributes:
        noted: Whether one has come since there is a job.
    """

    def __init__(self, job_fd: int, blocked: bool) -> None:
        self._job_fd = job_fd
        # Of those that came while this interpreter started, only its parent's can be for the job.
        early = signal.sigtimedwait({signal.SIGINT}, 0)
        self.noted = early is not None and early.si_pid == os.getppid() and self._has_job()
        self._before = signal.signal(signal.SIGINT, self._note)
        if not blocked:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def leave(self) -> None:
        """Have SIGINT do what it does in any process."""
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        self.noted |= self._has_job()

    def _has_job(self) -> bool:
        poll = select.poll()  # one of its own, as the next signal may come in the midst of it
        poll.register(self._job_fd, select.POLLIN)
        return bool(poll.poll(0))


def _renumber(fds: Sequence[int], numbers: Sequence[int]) -> None:
    """Give received descriptors the numbers they have in the parent, as spawning would."""
    import fcntl

    # Out of the way first: a number that is wanted may be taken by another one that was received.
    beyond = max(*fds, *numbers) + 1
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, beyond) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, number in zip(moved, numbers, strict=True):
        os.dup2(fd, number, inheritable=True)
        os.close(fd)
