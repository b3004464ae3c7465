"""What shows that an agent is alive: to the program, by a word in each beat, and to its guard.

The guard is a process beside the agent. It does nothing but wait for the agent's beats, and kills an agent
that stands still, because it was stopped or hangs: the workers of such an agent would go on, and nobody
would know of what they do. The rules are in :mod:`tines.engines.remote.silence`.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from typing import NoReturn

from tines import _clock
from tines._fork import Rank, at_fork
from tines.agent.carrier import Carrier
from tines.engines.remote.silence import STILL_BEATS

__all__ = ["Pulse"]


class Pulse:
    """Starts the guard, and beats from :meth:`begin` on.

    Args:
        beat: How long a beat is, in seconds.
    """

    def __init__(self, beat: float) -> None:
        self._beat = beat
        reader, self._writer = os.pipe()
        agent = os.getpid()
        if os.fork() == 0:
            os.close(self._writer)
            _guard(agent, reader, beat * STILL_BEATS)
        os.close(reader)
        os.set_blocking(self._writer, False)
        at_fork(Rank.NODES, child=self._disown)

    def begin(self, carrier: Carrier) -> None:
        """Beat from now on; until now the agent may stand still for as long as it likes."""
        threading.Thread(
            target=self._run, args=(carrier,), name="tines agent pulse", daemon=True
        ).start()

    def _run(self, carrier: Carrier) -> None:
        while True:
            try:
                os.write(self._writer, b".")
            except OSError:
                pass  # it was killed, or is itself stopped
            carrier.beat()
            _clock.sleep(self._beat)

    def _disown(self) -> None:
        """In a worker: the guard is the agent's."""
        os.close(self._writer)


def _guard(agent: int, reader: int, patience: float) -> NoReturn:
    """Be the guard, until the agent has ended."""
    try:
        os.setsid()  # what stops all of the agent's group does not stop this
        beats = select.poll()
        beats.register(reader, select.POLLIN)
        alive = os.read(reader, 1)  # for as long as it takes to make ready
        while alive:
            if not beats.poll(patience * 1000):
                if os.getppid() == agent:
                    os.kill(agent, signal.SIGKILL)
                break
            alive = os.read(reader, 4096)
    finally:
        os._exit(0)
