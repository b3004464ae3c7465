"""A child's life around ``run()``: what it does before, and in which order it ends.

The steps are those of the standard library's ``BaseProcess._bootstrap``, in its order, as programs
rely on it: who is the current process, what is reset after a fork, which exit handlers run, when
streams are flushed. A forked child pays for each step that it takes by copying the pages that the
step touches, and most children have nothing to do in most of them. So a step looks first whether
there is anything to do. All in all this is a tenth of the time of a child that does nothing.

What makes the child safe comes before all that: its outcome has a place, a crash leaves its stacks.
Where somebody else has put a ``_bootstrap`` into ``BaseProcess``, as coverage does, theirs runs next.
"""

from __future__ import annotations

import faulthandler
import itertools
import multiprocessing.process as std_process
import multiprocessing.util as std_util
import os
import sys
import threading

from tines._std import standard
from tines.process.lifecycle import stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from tines.process.lifecycle.contract import Launchable

__all__ = ["code_of", "forget_threads", "live", "parent_of"]

# Their private names are what the standard library uses here.
_context = standard("context")
_default_context = _context._default_context
_process: Any = std_process
_util: ModuleType = std_util
_threading: ModuleType = threading

_BEFORE_3_13 = sys.version_info < (3, 13)

# The standard library's own, unless somebody has replaced it already.
_std_bootstrap: Any = std_process.BaseProcess._bootstrap  # type: ignore[attr-defined]
if getattr(_std_bootstrap, "__globals__", None) is not vars(std_process):
    _std_bootstrap = None

# Where executors keep their threads for the time of the exit; private, and these two modules register
# the only exit hooks of threads that the standard library has.
_THREADS_OF_EXECUTORS = (
    ("concurrent.futures.thread", "_threads_queues"),
    ("concurrent.futures.process", "_threads_wakeups"),
)

# The last that was made, for children of one parent.
_parent: Any = None


def live(process: Launchable, parent_sentinel: int | None, *, entered: bool = True) -> int:
    """Be the process, in the child, from its beginning to its end; return its exit code.

    Args:
        process: What this process is to be.
        parent_sentinel: Ready when the parent has ended.
        entered: Whether :func:`tines.process.liveness.enter` was called, as by our own ways of starting.
    """
    try:
        if not entered:
            from tines.process import liveness

            liveness.enter(parent_sentinel, process._bound, process.own_group)
        _make_safe(process)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    if _process.BaseProcess._bootstrap is not _std_bootstrap:
        return _process.BaseProcess._bootstrap(process, parent_sentinel)  # type: ignore[no-any-return]
    return _run(process, parent_sentinel)


def _make_safe(process: Launchable) -> None:
    """Do what comes before anything of the user's: what happens from now on is seen."""
    if process.environment:
        for name, value in process.environment.items():
            os.environ[name] = value
    if process._box is not None:
        process._box.keep_crash()
    elif not faulthandler.is_enabled():
        # By its number, which is also where the interpreter writes its last words.
        faulthandler.enable(file=2, all_threads=True)
    if process.returns:
        process._keep_outcome()
    for setup in process._setups:
        setup()
    target = getattr(process, "_target", None)
    if getattr(target, "__module__", None) == "torch.utils.data._utils.worker":
        from tines.wire.reducers import batches

        batches.prepare(process)


def _run(process: Launchable, parent_sentinel: int | None) -> int:
    """Run it, end what it leaves behind, and return its exit code."""
    code = 1
    try:
        _become(process, parent_sentinel)
        try:
            process.run()
            code = 0
        finally:
            # From Python 3.13 on these are among the ``atexit`` handlers.
            if _BEFORE_3_13 and (_util._finalizer_registry or _process._children):
                _util._exit_function()
    except SystemExit as error:
        code = code_of(error)
    except BaseException:
        _report(process)
    finally:
        if _has_threads():
            _threading._shutdown()
        if _util._logger is not None:
            _util.info("process exiting with exitcode %d", code)
        _util._flush_std_streams()
    return code


def _become(process: Launchable, parent_sentinel: int | None) -> None:
    """Make ``process`` the current one, with no children, and the one before it its parent."""
    if process._start_method is not None:
        _default_context._actual_context = _context._concrete_contexts[process._start_method]
    _process._process_counter = itertools.count(1)
    _process._children = set()
    stdin.replace()
    # Kept until what the program does after a fork is done.
    before, _process._current_process = _process._current_process, process
    parent = _process._parent_process = parent_of(process)
    parent._sentinel = parent_sentinel
    if _threading._HAVE_THREAD_NATIVE_ID:
        _threading._main_thread._set_native_id()
    if process._start_method != "spawn":
        # The parent's finalizers are not ours; what was to be called after a fork is.
        _util._finalizer_registry.clear()
        if _util._afterfork_registry.data:
            _util._run_after_forkers()
    del before
    if _util._logger is not None:
        _util.info("child process calling self.run()")


def parent_of(process: Launchable) -> Any:
    """Return what stands for the parent of ``process``, as ``parent_process()`` gives it there.

    A parent that calls this before it forks saves each of its children making it.
    """
    global _parent
    if (
        _parent is None
        or _parent._pid != process._parent_pid
        or _parent._name != process._parent_name
    ):
        _parent = _process._ParentProcess(process._parent_name, process._parent_pid, None)
    return _parent


def forget_threads() -> None:
    """Have the exit hooks of executors forget the threads of the parent, in a forked child.

    They would join each of them at this child's end: also the one that has started this child, which
    is its main thread now, and no thread can join itself. In the parent's executors no task can run
    here anyway.
    """
    for module, registry in _THREADS_OF_EXECUTORS:
        threads = getattr(sys.modules.get(module), registry, None)
        if threads:
            threads.clear()


def _has_threads() -> bool:
    """Whether there may be threads to wait for, or handlers that go before that."""
    # From Python 3.13 on to look takes as long as to wait for none.
    return not _BEFORE_3_13 or bool(_threading._shutdown_locks or _threading._threading_atexits)


def code_of(error: SystemExit) -> int:
    """Return the exit code that an interpreter would end with; print what is not a number."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    sys.stderr.write(f"{error.code}\n")
    return 1


def _report(process: Launchable) -> None:
    import traceback

    sys.stderr.write(f"Process {process.name}:\n")
    traceback.print_exc()
