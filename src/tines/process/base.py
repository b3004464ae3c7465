"""``Process``: the standard library's, with an outcome, stacks, and a choice about outliving its parent.

It derives from ``multiprocessing.process.BaseProcess``, so ``current_process()``,
``active_children()``, ``parent_process()`` and everything built on them see one family. How a
child is started is the business of a ``Popen`` class for each start method.

In the parent: ``start()`` makes the box the child will write into, and hands both to ``Popen``.
Its life in the child is told in :mod:`tines.process.lifecycle.bootstrap`.
"""

from __future__ import annotations

import multiprocessing.process as _process
import os
import sys

from tines import _clock, _watchers
from tines._threads import check_interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, NoReturn

    from tines.process.lifecycle.box import Box
    from tines.process.lifecycle.contract import Launchable, Started
    from tines.process.lifecycle.outcome import Outcome
    from tines.process.stacks import Stacks

    class _Base:
        """The standard library's class as its users may see it: there ``run()`` may return nothing."""

        name: str
        daemon: bool
        authkey: bytes
        _identity: tuple[int, ...]

        def __init__(
            self,
            group: None = None,
            target: Callable[..., object] | None = None,
            name: str | None = None,
            args: Iterable[object] = (),
            kwargs: Mapping[str, object] = {},
            *,
            daemon: bool | None = None,
        ) -> None: ...
        def run(self) -> object:
            """Call the target; subclasses do something else. ``returns=True`` hands back what it returns."""

        def start(self) -> None: ...
        def terminate(self) -> None: ...
        def kill(self) -> None: ...
        def close(self) -> None: ...
        def join(self, timeout: float | None = None) -> None: ...
        def is_alive(self) -> bool: ...
        @property
        def exitcode(self) -> int | None: ...
        @property
        def ident(self) -> int | None: ...
        @property
        def pid(self) -> int | None: ...
        @property
        def sentinel(self) -> int: ...
else:
    _Base = _process.BaseProcess

__all__ = ["ManagedProcess", "at_start"]

_SET_BY_INIT = frozenset(
    (
        "_args",
        "_closed",
        "_config",
        "_identity",
        "_kwargs",
        "_name",
        "_parent_pid",
        "_popen",
        "_target",
    )
)


# Of the standard library's private names ``_children`` and ``_current_process`` are used. They are other
# ones in each child, so they are never kept.
std: Any = _process

_at_start: list[Callable[[], Callable[[], None] | None]] = []


def at_start(prepare: Callable[[], Callable[[], None] | None]) -> None:
    """Have every child set something up before it runs; for other rooms (logging).

    Args:
        prepare: Called in the parent at each start. What it returns, unless ``None``, is called in
            the child; it must pickle.
    """
    if prepare not in _at_start:
        _at_start.append(prepare)


class ManagedProcess(_Base):
    """What all process classes of tines share.

    Args:
        group: Always ``None``; there for compatibility with ``threading.Thread``.
        target: Called by ``run()`` in the child.
        name: For people; made up when not given.
        args: Positional arguments of ``target``.
        kwargs: Keyword arguments of ``target``.
        daemon: Whether the child ends when this process does, however that ends: it gets
            ``SIGTERM``, and a moment later ``SIGKILL``. Unlike in the standard library, a daemonic
            process may start processes: they end when it does.
        returns: Whether the child hands back what ``target`` or ``run()`` returned or raised; see
            :meth:`result`. The class attribute of the same name is the default.
        dies_with_parent: Whether the child ends like a daemonic one when this process is gone without
            having waited for it: killed, or by ``os._exit()``. See the class attribute of the same
            name, which is the default.

    Raises:
        TypeError: ``target`` is not callable, or ``args`` is not a sequence of arguments.
    """

    returns: bool = False
    """Default of the argument ``returns``, for subclasses to set."""

    keep_dump: bool = False
    """Keep the stacks of a crash for :meth:`dump` instead of writing them to stderr. Always so for
    a process that returns."""

    dies_with_parent: bool | None = None
    """Whether the child ends when its parent is gone. ``None``, unless set on a class or on an
    object before ``start()``: as in the standard library a process that is not daemonic goes on. It
    ends if it is daemonic or its parent is, or if ``TINES_DIES_WITH_PARENT=1`` is set."""

    environment: Mapping[str, str] | None = None
    """Variables that are set in the child before it imports anything of the user's, so that
    libraries which read them once, when they are loaded, see them. Not those that the child has
    inherited loaded: with ``fork``, or from a fork server that preloads them."""

    own_group: bool = False
    """Whether the child leads a process group of its own, which ``terminate()``, ``kill()`` and
    ``interrupt()`` then signal as a whole, with what the child has started by other means. Such a
    child gets no Ctrl-C from the terminal."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        daemon: bool | None = None,
        returns: bool | None = None,
        dies_with_parent: bool | None = None,
    ) -> None:
        if target is not None and not callable(target):
            raise TypeError(
                f"target={target!r} is not callable: pass the function itself, target=f, "
                "and what to call it with as args=(...)"
            )
        try:
            args = tuple(args)
        except TypeError:
            raise TypeError(
                f"args={args!r} is not a sequence of arguments: for a single one, write args=({args!r},)"
            ) from None
        try:
            keywords = dict(kwargs or {})
        except (TypeError, ValueError):
            raise TypeError(
                f"kwargs={kwargs!r} is not a mapping of names to arguments: write kwargs={{'name': value}}"
            ) from None
        for key in keywords:
            if not isinstance(key, str):
                raise TypeError(
                    f"kwargs={kwargs!r}: {key!r} cannot be the name of an argument: it is not a string"
                )
        if group is not None:
            raise AssertionError(
                f"group argument must be None for now, not {group!r}: write target= before the function"
            )
        super().__init__(group, target, name, args, keywords, daemon=daemon)
        if returns is not None:
            self.returns = returns
        if dies_with_parent is not None:
            self.dies_with_parent = dies_with_parent
        self._bound = False
        self.inherits_family = True
        self._setups: list[Callable[[], None]] = []
        self._box: Box | None = None
        self._stacks: Stacks | None = None
        self._outcome: Outcome | None = None

    if TYPE_CHECKING:
        _check_closed: Callable[[], None]
        _closed: bool
        _parent_name: str
        _parent_pid: int
        _start_method: str | None
        _popen: Started | None
        _sentinel: int
        _target: Callable[..., object] | None
        _args: tuple[object, ...]
        _kwargs: dict[str, object]

        @staticmethod
        def _Popen(process_obj: Launchable) -> Started: ...  # noqa: N802
    else:

        def __getattr__(self, name):
            if name in _SET_BY_INIT and "_popen" not in self.__dict__:
                _misuse(
                    f"{type(self).__name__}.__init__() does not call super().__init__(): "
                    "call it first, before you set attributes"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def run(self) -> Any:
        """Call ``target``, in the child. A subclass may override it; it returns the result."""
        if self._target:
            return self._target(*self._args, **self._kwargs)
        return None

    def start(self) -> None:
        """Start the child; at most once.

        Raises:
            StartError: it was started before, by another process, or while this process is itself
                still importing its main module.
        """
        self._check_closed()
        if self._popen is not None:
            _misuse(f"{self.name} was started before: a process runs once, make a new one")
        self._check_owner("start")
        check_interpreter()
        _forget_ended()
        self._bound = self._ends_with_parent()
        if _at_start:
            self._setups = [setup for prepare in _at_start if (setup := prepare()) is not None]
        self._make_ends()
        observer = _watchers.processes
        began = observer.starting() if observer is not None else 0
        try:
            self._popen = self._Popen(self)
        except BaseException:
            self._drop_box()
            raise
        self._sentinel = self._popen.sentinel
        if self.returns:
            self._expect_outcome()
        # The target may refer to this object; the standard library breaks the cycle here as well.
        del self._target, self._args, self._kwargs
        std._children.add(self)
        if observer is not None:
            observer.started(self, began)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the child has ended, at most ``timeout`` seconds."""
        self._check_closed()
        self._check_owner("join")
        if self._popen is None:
            _misuse(f"{self.name} was not started: call start() before join()")
        if _awaited(self._popen, timeout):
            std._children.discard(self)

    def terminate(self) -> None:
        """Ask the child to end: ``SIGTERM``, or ``TerminateProcess()`` on Windows."""
        self._started("terminate").terminate()

    def kill(self) -> None:
        """End the child at once: ``SIGKILL``."""
        self._started("kill").kill()

    def interrupt(self) -> None:
        """Raise ``KeyboardInterrupt`` in the child: ``SIGINT``. Not on Windows."""
        started = self._started("interrupt")
        if sys.platform == "win32":
            raise NotImplementedError(
                "interrupt() needs SIGINT, which Windows cannot send to one process"
            )
        started.interrupt()

    def close(self) -> None:
        """Release what this object holds. The child must have ended."""
        super().close()
        if self._outcome is not None:
            self._finalize()
        self._drop_box()

    def result(self, timeout: float | None = None) -> Any:
        """Return what the target returned, or raise what it raised, with the remote traceback.

        Waits for the child to end, like :meth:`join`. A large array comes without a copy.

        Raises:
            WaitTimeout: the child is still running after ``timeout`` seconds.
            ProcessLostError: the child ended without an outcome: it was killed, or by itself.
            ValueError: this process was not made with ``returns=True``.
        """
        value, error = self._get_outcome("result", timeout)
        if error is not None:
            try:
                raise error
            finally:
                del error  # the traceback refers to this frame
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what :meth:`result` would raise, or ``None``. ``WaitTimeout`` is raised."""
        return self._get_outcome("exception", timeout)[1]

    def dump(self) -> str | None:
        """Return the stacks the child left when it crashed, if it did; see :attr:`keep_dump`."""
        self._check_closed()
        return self._box.dump() if self._box is not None else None

    def stacks(self, timeout: float = 5.0) -> str:
        """Return the stacks of all threads of the running child, which goes on undisturbed.

        They come from ``faulthandler``, so a child that hangs in C code answers as well.

        Raises:
            WaitTimeout: the child did not answer: it is stopped, or has not begun to run.
            StartError: the child is not running.
            NotImplementedError: not on this system.
        """
        started = self._started("stacks")
        if self._stacks is None:
            raise NotImplementedError("asking a process for its stacks needs Linux")
        text = None
        if started.poll() is None:
            text = self._stacks.ask(started.pid, started.send_signal, timeout)
        if text is None and started.poll() is not None:
            _misuse(f"{self.name} has ended: only a running process can be asked for its stacks")
        if text is None:
            from tines.errors import WaitTimeout

            raise WaitTimeout(
                f"{self.name} (pid {self.pid}) did not give its stacks in {timeout} s"
            )
        return text

    def _make_ends(self) -> None:
        """Make what the child and this process share: the box, and the way to ask for stacks."""
        if self.returns or self.keep_dump:
            from tines.process.lifecycle.box import Box

            self._box = Box()
        if sys.platform == "linux":
            from tines.process.stacks import for_children

            self._stacks = for_children()

    def _ends_with_parent(self) -> bool:
        """Decide, at the start, whether the child is bound to this process."""
        if self.dies_with_parent is not None:
            return bool(self.dies_with_parent)
        if self.daemon or std._current_process._config.get("daemon"):
            return True
        from tines import _config

        return _config.dies_with_parent() is _config.DiesWithParent.YES

    def _check_owner(self, verb: str) -> None:
        if self._parent_pid != os.getpid():
            _misuse(
                f"cannot {verb} {self.name} here (pid {os.getpid()}): only the process that "
                f"made it (pid {self._parent_pid}) can"
            )

    def _started(self, verb: str) -> Started:
        """Return the ``Popen`` object."""
        self._check_closed()
        if self._popen is None:
            _misuse(f"{self.name} was not started: call start() before {verb}()")
        return self._popen

    def _expect_outcome(self) -> None:
        from multiprocessing.util import Finalize

        from tines.process.lifecycle.outcome import Outcome

        assert self._box is not None
        self._outcome = Outcome(self._box, self.name)
        # Below zero: at exit it runs after the children were joined. Only in this process.
        self._finalize = Finalize(self, self._outcome.give_up, exitpriority=-10)

    def _get_outcome(self, verb: str, timeout: float | None) -> tuple[object, BaseException | None]:
        self._check_closed()
        if not self.returns:
            raise ValueError(f"{self.name} keeps no result: make it with returns=True")
        started = self._started(verb)
        self._check_owner(verb)
        if not _awaited(started, timeout):
            from tines.errors import WaitTimeout

            raise WaitTimeout(f"{self.name} (pid {self.pid}) is still running after {timeout} s")
        std._children.discard(self)
        assert self._outcome is not None
        return self._outcome.get(started.pid, started.returncode)

    def _pass_on(self) -> tuple[int, int, list[memoryview]] | None:
        """Return what an ended child has put into its box, for another process: nobody asks in this one."""
        if self._outcome is not None:
            self._outcome = None
            self._finalize.cancel()
        return None if self._box is None else self._box.outcome()

    def _drop_box(self) -> None:
        if self._box is not None:
            self._box.close()
            self._box = None

    def _bootstrap(self, parent_sentinel: int | None = None) -> int:
        """Live, in the child, and return the exit code. Called where the standard library launches it."""
        from tines.process.lifecycle.bootstrap import live

        return live(self, parent_sentinel, entered=False)

    def _listen(self) -> None:
        """Answer in this child when it is asked for its stacks. For those who launch it."""
        if self._stacks is not None:
            self._stacks.listen()

    def _keep_outcome(self) -> None:
        """Have ``run()`` put its outcome into the box."""
        from tines.process.lifecycle.outcome import run_and_keep

        assert self._box is not None
        run, box = self.run, self._box
        self.run = lambda: run_and_keep(run, box)  # type: ignore[method-assign]


def _forget_ended() -> None:
    """Collect the children that have ended, as the standard library does at each start.

    Another thread may close one of them meanwhile, which Python 3.10 does not reckon with.
    """
    for process in list(std._children):
        started = process._popen
        if started is not None and started.poll() is not None:
            std._children.discard(process)


def _awaited(started: Started, timeout: float | None) -> bool:
    """Wait for the end of a child, however long that may take; whether it came in time."""
    deadline = _clock.deadline_after(timeout)
    while True:
        seconds = _clock.stretch(deadline)
        if started.wait(seconds) is not None:
            return True
        if seconds is None or _clock.passed(deadline):
            return False


def _misuse(message: str) -> NoReturn:
    from tines.errors import StartError

    raise StartError(message)
