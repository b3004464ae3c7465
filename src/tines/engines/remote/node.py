"""What the program knows of a node: its stream, what it was given, how much more it may be given.

A node is given what it can begin, and a little ahead of that if its tasks are short: as many as it has
finished in ``LOOKAHEAD`` seconds lately. So of what a lost node held, all may have begun, and little had
not. What it was given is kept until its outcome is there, as what it had certainly not begun goes to
another node.

Pure: no thread, and no system call. Everything here belongs to the hub's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tines._sockets import Output
from tines.transport.contract import Message

if TYPE_CHECKING:
    from tines.engines.remote.questions import Question
    from tines.engines.remote.workers import RemoteWorker

__all__ = ["LOOKAHEAD", "Node", "choose"]

LOOKAHEAD = 0.005
"""Seconds: some times the way to a node and back."""

MEASURE = 0.005
FORGET = 0.05

MOST_AHEAD = 1024


class Node:
    """A node, in the program.

    Args:
        name: What it is called.
        address: Where it is.
        pid: The process id of its agent, there.
        number: By which channels know its processes; 0: they use none.

    Attributes:
        given: What it was given, by the number of the dispatch.
        workers: Its workers, by slot.
        ready: The slots of those that have run their initializer and do not leave.
        outgoing: What is to be written to it.
        asked: The questions that it has not yet answered, by number.
        alive: Whether its stream is there.
        silent: In how many beats nothing has come from it.
    """

    def __init__(self, name: str, address: str, pid: int, number: int = 0) -> None:
        self.name = name
        self.address = address
        self.pid = pid
        self.number = number
        self.given: dict[int, Message] = {}
        self.workers: dict[int, RemoteWorker] = {}
        self.ready: set[int] = set()
        self.outgoing = Output()
        self.batch: list[Message] = []
        self.asked: dict[int, Question] = {}
        self.alive = True
        self.silent = 0
        self.held: dict[int, float] = {}
        self._ahead = 0
        self._finished = 0
        self._since = 0.0

    def room(self) -> int:
        """How many more dispatches it may be given."""
        if not self.ready:
            return 0
        return len(self.ready) + self._ahead - len(self.given)

    def load(self) -> float:
        """How much it has to do: what it was given, for each worker."""
        return len(self.given) / (len(self.ready) or 1)

    def finished(self, count: int, now: float) -> None:
        """So many dispatches are over: look how fast it goes."""
        self._finished += count
        elapsed = now - self._since
        if elapsed > FORGET:
            self._ahead = 0
        elif elapsed >= MEASURE:
            self._ahead = min(MOST_AHEAD, int(self._finished / elapsed * LOOKAHEAD))
        else:
            return
        self._finished = 0
        self._since = now


def choose(nodes: list[Node]) -> Node | None:
    """Return the node that the next dispatch should go to; ``None``: it has to wait."""
    best = None
    for node in nodes:
        if node.room() > 0 and (best is None or node.load() < best.load()):
            best = node
    return best
