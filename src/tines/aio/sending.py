"""Sending to a queue that is full, for tasks of event loops.

A thread takes the letters in the order in which they were given and sends each, waiting as long as it
must; it ends when there are no more. Waiting in the transport cannot be called off from outside, so while
the queue stays full the thread comes up once in ``LOOK`` seconds to see whether its letter was withdrawn
meanwhile. One that was sent all the same is taken back from the channel, unless somebody has received it.

Lock order: the lock is held for the line of letters only, never while anything is sent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.queues import Queue
    from tines.transport.contract import Buffer

__all__ = ["Letter", "Sender"]

LOOK = 0.05


class Letter:
    """One message that waits to be sent.

    Attributes:
        error: Why it was not sent, once it is told that it is done.
    """

    def __init__(
        self, kind: int, data: Buffer, buffers: Sequence[Buffer], done: Callable[[], object]
    ) -> None:
        self.message = (data, buffers, kind, 0)
        self.done = done
        self.withdrawn = False
        self.error: BaseException | None = None


class Sender:
    """See the module. Any thread may give it letters."""

    def __init__(self, queue: Queue[Any]) -> None:
        self._queue = queue
        self._line: deque[Letter] = deque()
        self._lock = threading.Lock()
        self._running = False

    @property
    def busy(self) -> bool:
        """Whether letters wait, which others must not overtake."""
        return self._running

    def give(
        self, kind: int, data: Buffer, buffers: Sequence[Buffer], done: Callable[[], object]
    ) -> Letter:
        """Have a message sent; ``done`` is called when it was, or cannot be, in the thread.

        Raises:
            RuntimeError: no thread can be started; nothing will be sent.
        """
        letter = Letter(kind, data, buffers, done)
        with self._lock:
            if not self._running:
                # It waits for the lock before it looks for letters.
                threading.Thread(target=self._run, name="tines aio sender", daemon=True).start()
                self._running = True
            self._line.append(letter)
        return letter

    def withdraw(self, letter: Letter) -> bool:
        """Whoever gave it does not want it sent any more.

        Returns:
            Whether it is settled; if not it is being sent, and ``done`` is called within ``LOOK``.
        """
        with self._lock:
            letter.withdrawn = True
            if letter in self._line:
                self._line.remove(letter)
                return True
            return False

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._line:
                    self._running = False
                    return
                letter = self._line.popleft()
            try:
                self._send(letter)
            except BaseException as error:
                letter.error = error
            letter.done()

    def _send(self, letter: Letter) -> None:
        channel = self._queue._channel
        while not letter.withdrawn:
            ticket = channel.send(*letter.message, LOOK)
            if ticket >= 0:
                if letter.withdrawn:
                    channel.revoke(ticket)
                return
