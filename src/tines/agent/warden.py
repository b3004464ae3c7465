"""What starts the workers of a node and watches over them: the agent's main thread.

It makes itself ready as a spawned child would: the same paths, arguments and main module as the program
has. Workers are then started as they are on any machine, by the start method that the program said.
"""

from __future__ import annotations

import functools
import os
import pickle
import queue
from typing import Any

from tines import _clock, context
from tines._ready import ready_among
from tines.agent.carrier import Carrier
from tines.agent.guest import Guest
from tines.agent.pulse import Pulse
from tines.engines.contract import Exit, Running
from tines.engines.local import LocalEngine
from tines.engines.remote.frames import Arguments, Word
from tines.pool.worker import needed_by_workers
from tines.process.lifecycle import launch

__all__ = ["Warden"]

END_SECONDS = 2.0


class Warden:
    """See the module.

    Args:
        carrier: Carries what workers and the program say to each other.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._workers: dict[int, Running] = {}
        self._words: queue.SimpleQueue[Arguments] = queue.SimpleQueue()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._running = False
        self._engine: LocalEngine

    def run(self) -> None:
        """Be a node, until the stream ends."""
        try:
            main, slots, method, name, beat = self._carrier.first()
        except (OSError, EOFError):
            return
        pulse = Pulse(beat)
        problem = self._make_ready(main, slots, method, name)
        self._carrier.say(Word.ANSWER, 0, problem)
        if problem is not None:
            return
        self._carrier.carry(self._deal, self._usage)
        pulse.begin(self._carrier)
        self._engine.watch()
        self._running = True
        while self._deal_with_words():
            self._wait(None)
        self._end()

    def leave(self) -> None:
        """End the workers, and :meth:`run`. Any thread."""
        if not self._running:
            os._exit(
                1
            )  # there are no workers yet, and nobody can say when the main module is imported
        self._deal(None)

    def _make_ready(
        self, main: dict[str, object], slots: int, method: str, name: str
    ) -> str | None:
        """Become like the program; return what went wrong, if something did."""
        import multiprocessing.process as std

        current: Any = std.current_process()
        current._inheriting = True
        if not os.path.isdir(str(main.get("dir"))):  # on another machine
            main.pop("dir", None)
        try:
            launch.prepare(main)
            self._carrier.open(slots, name)
            engine_context = context.default.get_context(method)
        except SystemExit as error:
            return f"its main module ended it when it was imported: SystemExit: {error}"
        except BaseException as error:
            return f"it could not be made ready: {type(error).__name__}: {error}"
        finally:
            del current._inheriting
        self._engine = LocalEngine(engine_context, method)
        self._engine.expect(needed_by_workers(self._carrier.transport))
        return None

    def _deal(self, *word: object) -> None:
        """Have a word dealt with. The carrier's thread."""
        self._words.put(word)
        try:
            os.write(self._writer, b"w")
        except BlockingIOError:
            pass

    def _usage(self, slot: int) -> tuple[int, float]:
        running = self._workers.get(slot)
        if running is None:
            return 0, 0.0
        usage = running.usage()
        return usage.memory, usage.cpu_seconds

    def _deal_with_words(self) -> bool:
        """Do what was said; ``False``: the stream has ended."""
        while not self._words.empty():
            word, *arguments = self._words.get()
            if word is None:
                return False
            if word in (Word.START, Word.RUN):
                self._start(word, *arguments)
                continue
            slot, *rest = arguments
            running = self._workers.get(slot)
            if running is None:
                continue
            if word == Word.ORDER:
                running.interrupt(*rest)
            elif word == Word.TERMINATE:
                running.terminate()
            elif word == Word.KILL:
                running.kill()
        return True

    def _start(self, word: int, number: int, what: tuple[Any, ...]) -> None:
        slot, *rest = what
        running: Running
        try:
            if word == Word.RUN:
                running = Guest(self._engine.context, *rest)
            else:
                running = self._start_worker(*rest)
            self._workers[slot] = running
        except BaseException as error:
            self._carrier.say(Word.ANSWER, number, _sendable(error))
            return
        self._carrier.say(Word.ANSWER, number, running.pid)

    def _start_worker(self, data: bytes, buffers: list[bytes]) -> Running:
        name, target, spec, environment = pickle.loads(data, buffers=buffers)
        spec.tasks, spec.results = self._carrier.tasks, self._carrier.results
        return self._engine.start(name, target, (spec,), environment)

    def _wait(self, deadline: float | None) -> None:
        by_sentinel = {running.sentinel: slot for slot, running in self._workers.items()}
        for ready in ready_among([self._reader, *by_sentinel], deadline):
            if ready == self._reader:
                os.read(self._reader, 4096)
            else:
                self._bury(by_sentinel[ready])

    def _bury(self, slot: int) -> None:
        """Reap a worker; the program hears of it behind the last of the worker's results."""
        running = self._workers.pop(slot)
        exit = running.outcome()
        if isinstance(running, Guest):
            self._carrier.say(Word.ENDED, slot, exit, None, 0.0, running.returned)
            return
        if exit.pid is not None:
            self._carrier.transport.reap(exit.pid)
        self._carrier.behind(functools.partial(self._tell_end, slot, exit))

    def _tell_end(self, slot: int, exit: Exit) -> None:
        tasks = self._carrier.tasks
        lease = tasks.lease(slot)
        taken = None if lease is None else (lease.tag, lease.progress)
        tasks.release(slot)
        self._carrier.say(Word.ENDED, slot, exit, taken, tasks.held(slot), None)

    def _end(self) -> None:
        """Kill what is left."""
        for running in self._workers.values():
            running.kill()
        deadline = _clock.monotonic() + END_SECONDS
        while self._workers and not _clock.passed(deadline):
            by_sentinel = {running.sentinel: slot for slot, running in self._workers.items()}
            for ready in ready_among(by_sentinel, deadline):
                self._workers.pop(by_sentinel[ready]).outcome()


def _sendable(error: BaseException) -> BaseException:
    """Return an exception as it is, or its text if it cannot travel."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
