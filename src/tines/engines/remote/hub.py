"""The hub: one thread of the program that deals with all nodes, and owns what is known of them.

A call's way: ``TasksChannel.send`` (the caller's thread) puts it into the inbox, which is one step for
signal handlers -> the hub gives it to a node that has room -> the node's tasks channel -> a worker ->
the node's results channel -> the hub puts it into the program's own results channel, where the collector
finds it as it would find what a local worker has sent.

Everything else that anybody wants is put into the inbox as well, as a function that the hub calls; who
wants an answer waits for it (:class:`Question`). So there is no lock, and nothing that an exception of a
signal handler could leave half done.

A node whose stream ends is lost. What it had sent is dealt with before; then its workers are reported as
ended, and one of them with all that may have begun there (``Exit.dispatches``). What it had not even
been sent goes elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import sys
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from tines import _clock
from tines._fork import Rank, at_fork
from tines._threads import PlainThread
from tines.engines.contract import Exit
from tines.engines.remote.frames import BATCH, Word, pack, pack_word
from tines.engines.remote.node import Node, choose
from tines.engines.remote.questions import PATIENCE, Question
from tines.engines.remote.silence import SILENT_BEATS
from tines.engines.remote.streams import Stream, Streams
from tines.errors import QueueShutDown, TransportError
from tines.transport.contract import Lease, Message
from tines.wire import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.engines.remote.looks import Look
    from tines.engines.remote.sharing import RelayShared
    from tines.engines.remote.workers import RemoteWorker
    from tines.transport.contract import Channel

__all__ = ["Hub"]

ROUND = 1000
"""How many things of the inbox are dealt with before the nodes' turn comes."""


class Hub:
    """See the module.

    Attributes:
        results: The program's results channel. Set before the start.
        nodes: The nodes that are there.
    """

    results: Channel

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._streams = Streams()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting: OrderedDict[int, Message] = OrderedDict()
        self._retiring = 0
        self._places: dict[int, Node] = {}
        self._leases: dict[int, Lease | None] = {}
        self._numbers = 0
        self._shares: dict[bytes, RelayShared] = {}
        self._asleep = False
        self._ending = False
        self._over = True
        self._thread = PlainThread(self._run)
        _hubs.add(self)

    # Any thread.

    def start(self, streams: dict[Node, Stream], beat: float) -> None:
        """Begin to deal with nodes, which say something in each beat of so many seconds. Once."""
        self._over = False
        self._streams.open()
        self.nodes = list(streams)
        self._beat = beat
        self._next_beat = _clock.monotonic() + beat
        for node, stream in streams.items():
            self._streams.add(node, stream)
            for shared in self._shares.values():
                self._tell(node, Word.SHARE, shared.identity, shared.data, shared.buffers)
        self._thread.start()

    def post(self, item: object) -> None:
        """Have the hub deal with a message, which is a tuple, or call a function."""
        self._inbox.put(item)
        if self._asleep:
            self._streams.wake()

    def ask(self, function: Callable[[Question], object], timeout: float = PATIENCE) -> Any:
        """Have a function called with a question, and wait for its answer."""
        question = Question()
        self.post(functools.partial(function, question))
        return question.wait(0.0 if self._over else timeout)

    def end(self) -> None:
        """Close all streams, upon which the nodes end their workers and themselves."""
        self.post(self._end)
        self._thread.join()
        self._streams.close()
        _hubs.discard(self)

    def disown(self) -> None:
        """In a forked child: these are not our streams."""
        self._streams.close()

    # Tasks. Any thread.

    def revoke(self, tag: int) -> bool:
        """See ``Channel.revoke``."""
        return bool(self.ask(functools.partial(self._revoke, tag)))

    def lease(self, slot: int) -> Lease | None:
        """See ``Channel.lease``."""
        if slot in self._leases:
            return self._leases[slot]
        look = self.look_at(slot)
        if look is None or look.tag is None:
            return None
        return Lease(look.tag, look.progress, _clock.monotonic() - look.seconds)

    def release(self, slot: int) -> None:
        """See ``Channel.release``: a dead worker's lease is not needed any more."""
        self._leases.pop(slot, None)

    def held(self, slot: int) -> float:
        """See ``Channel.held``."""
        self.look_at(slot)
        return sum(node.held.get(slot, 0.0) for node in self.nodes)

    def look_at(self, slot: int) -> Look | None:
        """Return what the worker in a slot is doing now; ``None``: there is none."""
        node = self._places.get(slot)
        if node is None:
            return None
        look: Look | None = self.ask(functools.partial(self._ask_node, node, Word.LOOK, slot))
        if look is not None:
            node.held[slot] = look.held
        return look

    def depth(self) -> tuple[int, int]:
        """Return how many messages no worker has taken yet, and how many bytes they have."""
        there: list[tuple[int, int]] = []
        for node in list(self.nodes):
            look = self.ask(functools.partial(self._ask_node, node, Word.LOOK, -1))
            if look is not None:
                there.append(look)
        waiting = list(self._waiting.values())
        size = sum(len(data) + sum(map(len, buffers)) for _, _, data, buffers in waiting)
        return (
            len(waiting) + sum(count for count, _ in there),
            size + sum(own for _, own in there),
        )

    def shut(self, immediate: bool) -> None:
        """Tell all nodes that no more tasks will come."""
        self.post(functools.partial(self._shut, immediate))

    def share(self, shared: RelayShared) -> None:
        """Send a payload to all nodes."""
        self._shares[shared.identity] = shared
        arguments = Word.SHARE, shared.identity, shared.data, shared.buffers
        self.post(functools.partial(self._tell_all, *arguments))

    def unshare(self, identity: bytes) -> None:
        """Have the nodes forget a payload."""
        self._shares.pop(identity, None)
        self.post(functools.partial(self._tell_all, Word.UNSHARE, identity))

    # Workers. Any thread.

    def place(
        self, worker: RemoteWorker, what: tuple[object, ...], word: Word = Word.START
    ) -> int | BaseException | None:
        """Start a worker somewhere; return its pid, an exception, or ``None``: its node was lost.

        Args:
            worker: The worker.
            what: What its node is told, after the slot.
            word: By which word; ``RUN`` for a process of the program's own.

        Raises:
            TransportError: there is no node any more.
        """
        answer: int | BaseException | None
        # A process of the program's own is not started again as long as nobody knows whether it runs.
        patience = 60.0 if word is Word.START else _clock.LONGEST
        answer = self.ask(functools.partial(self._place, worker, what, word), patience)
        if worker.accounts or (word is Word.RUN and worker.exit is not None):
            return 0  # it may have started, and has to be buried
        if answer is _NOWHERE or (answer is None and not self.nodes):
            raise TransportError("no node is left on which a worker could be started")
        return answer

    def order(self, worker: RemoteWorker, order: bytes) -> bool:
        """Interrupt a worker."""
        self.post(functools.partial(self._tell_worker, worker, Word.ORDER, order))
        return True

    def terminate(self, worker: RemoteWorker) -> None:
        """Ask a worker to end."""
        self.post(functools.partial(self._tell_worker, worker, Word.TERMINATE))

    def kill(self, worker: RemoteWorker) -> None:
        """End a worker."""
        self.post(functools.partial(self._tell_worker, worker, Word.KILL))

    # The hub's thread.

    def _run(self) -> None:
        try:
            while True:
                self._drain()
                self._assign()
                for node in list(self.nodes):
                    self._write(node)
                if self._ending:
                    break
                self._wait()
        except Exception:
            import logging

            logging.getLogger("tines.pool").exception(
                "the hub of a pool failed; its nodes are lost"
            )
        finally:
            for node in list(self.nodes):
                self._lose(node, "the program has let go of it")
            # Who asks after this sees it; who has asked before is answered here.
            self._over = True
            while self._inbox.qsize():
                self._drain()

    def _end(self) -> None:
        self._ending = True

    def _drain(self) -> None:
        get = self._inbox.get_nowait
        try:
            for _ in range(ROUND):
                item = get()
                if type(item) is not tuple:
                    item()
                elif item[0] == messages.RETIRE:
                    self._retiring += 1
                else:
                    self._waiting[item[1]] = item
        except queue.Empty:
            pass

    def _assign(self) -> None:
        """Give to nodes what they have room for."""
        waiting = self._waiting
        while waiting:
            node = choose(self.nodes)
            if node is None:
                break
            tag, message = waiting.popitem(last=False)
            node.given[tag] = message
            node.batch.append(message)
        while self._retiring and self.nodes:
            node = max(self.nodes, key=lambda each: len(each.workers))
            node.batch.append((messages.RETIRE, 0, b"", ()))
            self._retiring -= 1

    def _write(self, node: Node) -> None:
        try:
            self._streams.write(node)
        except OSError as error:
            self._lose(node, f"its stream is broken: {error}")

    def _wait(self) -> None:
        self._asleep = True
        # After that: who posts something from now on wakes the thread.
        ready = self._streams.wait(_clock.left(self._next_beat) if self._inbox.empty() else 0.0)
        self._asleep = False
        for node in ready:
            node.silent = 0
            self._read(node)
        if _clock.passed(self._next_beat):
            self._count_beat()

    def _count_beat(self) -> None:
        """A beat is over; from whom did nothing come?"""
        self._next_beat = _clock.monotonic() + self._beat
        for node in list(self.nodes):
            node.silent += 1
            if node.silent >= SILENT_BEATS:
                seconds = SILENT_BEATS * self._beat
                self._lose(
                    node, f"it has said nothing for {seconds:g} s: it is cut off, or stands still"
                )

    def _read(self, node: Node) -> None:
        try:
            for frame in self._streams.read(node):
                if isinstance(frame, list):
                    self._results(node, frame)
                else:
                    self._word(node, *frame)
        except EOFError:
            self._lose(node, "its stream has ended")
        except OSError as error:
            self._lose(node, f"its stream is broken: {error}")

    def _results(self, node: Node, frame: list[Message]) -> None:
        """Pass on what workers have sent."""
        finished = 0
        given = node.given
        for kind, tag, _, _ in frame:
            if kind <= messages.VALUES:
                if given.pop(tag & messages.TAG_MASK, None) is not None:
                    finished += 1
            elif kind == messages.READY:
                self._is_ready(node, tag >> messages.SLOT_SHIFT)
            elif kind in (messages.RETIRING, messages.UNREADY):
                node.ready.discard(tag >> messages.SLOT_SHIFT)
        with contextlib.suppress(QueueShutDown, TransportError, ValueError):  # the pool has ended
            self.results.send_many(frame)
        if finished:
            node.finished(finished, _clock.monotonic())

    def _is_ready(self, node: Node, slot: int) -> None:
        worker = node.workers.get(slot)
        if worker is not None:
            worker.was_ready = True
            if worker.pid is not None:
                node.ready.add(slot)

    def _word(self, node: Node, word: int, *arguments: Any) -> None:
        if word == Word.ANSWER:
            number, answer = arguments
            question = node.asked.pop(number, None)
            if question is not None:
                question.answer(answer)
        elif word == Word.ENDED:
            self._ended(node, *arguments)

    def _ended(
        self,
        node: Node,
        slot: int,
        exit: Exit,
        lease: tuple[int, int] | None,
        held: float,
        returned: tuple[int, int, list[bytes]] | None,
    ) -> None:
        """A worker has ended, and all that it had sent was passed on."""
        worker = node.workers.pop(slot, None)
        node.ready.discard(slot)
        node.held[slot] = held
        if worker is None:
            return
        self._leases[slot] = None
        if lease is not None:
            self._leases[slot] = Lease(*lease, _clock.monotonic())
            node.given.pop(lease[0], None)
        self._places.pop(slot, None)
        worker.ended(exit, returned)

    def _lose(self, node: Node, why: str) -> None:
        """A node is not there any more."""
        if not node.alive:
            return
        node.alive = False
        self.nodes.remove(node)
        self._streams.drop(node)
        across = sys.modules.get("tines.transport.pipe.across")
        if across is not None and node.number:  # there may be channels that its processes use
            across.exclude(node.number)
        for message in reversed(node.batch):
            if node.given.pop(message[1], None) is not None:
                self._again(message)
        # Those last that are being started: nobody knows whether they have come so far.
        workers = sorted(node.workers.values(), key=lambda each: each.pid is None)
        if not workers:  # nobody can have begun what was sent there
            for message in reversed(node.given.values()):
                self._again(message)
            node.given.clear()
        taken = tuple(node.given)
        description = f"was lost with node {node.name} ({why})"
        for worker in workers:
            self._places.pop(worker.slot, None)
            self._leases[worker.slot] = None
            charged = taken if worker is workers[0] else ()
            exit = Exit(
                worker.pid, None, description=description, node=node.name, dispatches=charged
            )
            worker.ended(exit)
        asked = list(node.asked.values())
        node.asked.clear()
        for question in asked:
            question.answer(None)

    def _again(self, message: Message) -> None:
        if message[0] == messages.RETIRE:
            self._retiring += 1
        else:
            self._waiting[message[1]] = message
            self._waiting.move_to_end(message[1], last=False)

    def _tell(self, node: Node, word: Word, *arguments: object) -> None:
        # Behind what was sent before, tasks too: a node does things in order.
        while node.batch:
            node.outgoing.add(pack(node.batch[:BATCH]))
            del node.batch[:BATCH]
        node.outgoing.add(pack_word(word, *arguments))

    def _tell_all(self, word: Word, *arguments: object) -> None:
        for node in self.nodes:
            self._tell(node, word, *arguments)

    def _tell_worker(self, worker: RemoteWorker, word: Word, *arguments: object) -> None:
        node = self._places.get(worker.slot)
        if node is not None and node.workers.get(worker.slot) is worker:
            self._tell(node, word, worker.slot, *arguments)

    def _ask_node(self, node: Node, word: Word, argument: object, question: Question) -> None:
        if not node.alive:
            question.answer(None)
            return
        self._numbers += 1
        node.asked[self._numbers] = question
        self._tell(node, word, self._numbers, argument)

    def _revoke(self, tag: int, question: Question) -> None:
        if self._waiting.pop(tag, None) is not None:
            question.answer(True)
            return
        for node in self.nodes:
            if tag in node.given:
                question.then = functools.partial(_revoked, node, tag)
                self._ask_node(node, Word.REVOKE, tag, question)
                return
        question.answer(False)

    def _shut(self, immediate: bool) -> None:
        if immediate:
            self._waiting.clear()
        self._tell_all(Word.SHUT, immediate)

    def _place(
        self, worker: RemoteWorker, what: tuple[object, ...], word: Word, question: Question
    ) -> None:
        if not self.nodes:
            question.answer(_NOWHERE)
            return
        node = min(self.nodes, key=lambda each: len(each.workers))
        worker.node = node
        node.workers[worker.slot] = worker
        self._places[worker.slot] = node
        self._leases.pop(worker.slot, None)
        question.then = functools.partial(self._placed, node, worker)
        self._ask_node(node, word, (worker.slot, *what), question)

    def _placed(self, node: Node, worker: RemoteWorker, answer: object) -> None:
        if isinstance(answer, int):
            worker.pid = answer
            if worker.was_ready:
                node.ready.add(worker.slot)
        elif node.workers.get(worker.slot) is worker:
            del node.workers[worker.slot]
            self._places.pop(worker.slot, None)


_NOWHERE = "nowhere"


def _revoked(node: Node, tag: int, answer: object) -> None:
    if answer:
        node.given.pop(tag, None)


_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()


def _disown() -> None:
    for hub in list(_hubs):
        hub.disown()


at_fork(Rank.NODES, child=_disown)
