"""``python -m tines PROGRAM``: the program does what it does without, on tines."""

from __future__ import annotations

import multiprocessing
import signal
import sys

import pytest

from both import Both

METHODS = multiprocessing.get_all_start_methods()

FACTS = """
import os, sys

def show():
    main = sys.modules["__main__"]
    names = ("__name__", "__doc__", "__package__", "__file__", "__cached__")
    print({name: getattr(main, name, "absent") for name in names})
    print(getattr(main.__spec__, "name", None), main.__loader__.__class__.__name__)
    print(sys.argv, sys.path[0], __name__, main.__dict__ is globals())

show()
"""

FAILURE = """
import sys

def inner():
    raise LookupError("a reason")

def outer():
    try:
        inner()
    except LookupError as error:
        raise ValueError("another") from error

print("before", *sys.argv[1:])
outer()
"""

KINDS = ["script", "directory", "module", "package", "code", "stdin"]


def arguments(both: Both, kind: str, text: str) -> tuple[list[str], str]:
    """Write a program in one of the ways to have one; return its command line and input."""
    if kind == "code":
        return ["-c", text], ""
    if kind == "stdin":
        return ["-"], text
    places = {
        "script": (["elsewhere/program.py"], "elsewhere/program.py"),
        "directory": (["bundle"], "bundle/__main__.py"),
        "module": (["-m", "pack.program"], "pack/program.py"),
        "package": (["-m", "pack"], "pack/__main__.py"),
    }
    line, path = places[kind]
    both.write("pack/__init__.py", "")
    both.write(path, text)
    return line, ""


@pytest.mark.parametrize("kind", KINDS)
def test_main_arguments_and_path(both: Both, kind: str) -> None:
    line, stdin = arguments(both, kind, FACTS)
    ended = both.same(*line, "--stats", "-x", "two words", stdin=stdin)
    assert ended.code == 0 and "two words" in ended.out


@pytest.mark.parametrize("kind", KINDS)
def test_traceback_and_exit_code(both: Both, kind: str) -> None:
    line, stdin = arguments(both, kind, FAILURE)
    ended = both.same(*line, stdin=stdin)
    assert ended.code == 1
    assert "LookupError: a reason" in ended.err and "ValueError: another" in ended.err


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.exit()",
        "import sys; sys.exit(7)",
        "import sys; sys.exit('in words')",
        "raise SystemExit(True)",
        "import os; os._exit(9)",
        "x = = 1",
        "raise KeyboardInterrupt",
        "import sys; sys.excepthook = lambda *a: print('hook', a[0], a[2].tb_lineno)\n\n1 / 0",
        "import atexit, sys; atexit.register(print, 'at exit'); sys.exit(3)",
        "import threading, time; threading.Timer(0.1, lambda: print(__name__, 'late')).start()",
    ],
)
def test_ends(both: Both, text: str) -> None:
    both.write("program.py", text)
    ended = both.same("program.py")
    if "Keyboard" in text and sys.platform != "win32":
        assert ended.code == -signal.SIGINT


@pytest.mark.parametrize(
    "line",
    [
        ["absent.py"],
        ["-m", "absent"],
        ["-m", "absent.py"],
        ["-m", "empty"],
        ["empty"],
        ["-m", "a.b"],
    ],
)
def test_no_such_program(both: Both, line: list[str]) -> None:
    both.write("empty/__init__.py", "")
    ended = both.same(*line)
    assert ended.code in (1, 2) and ended.err


PACKAGE = """
import multiprocessing, sys
from multiprocessing.context import SpawnProcess

main = sys.modules["__main__"]
facts = sys.argv, sys.path[0], main.__name__, main.__spec__, hasattr(main, "__file__")
spawn = multiprocessing.get_context("spawn")

def work():
    print("at work", SpawnProcess is type(multiprocessing.current_process()), flush=True)
"""

MODULE = """
from pack import facts, spawn, work

if __name__ == "__main__":
    print(facts)
    process = spawn.Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
"""


@pytest.mark.parametrize("module", ["pack", "pack.inner.program"])
def test_the_packages_of_a_module_are_part_of_the_program(both: Both, module: str) -> None:
    """To search for the module imports them: what they see and make is as without tines."""
    both.write("pack/__init__.py", PACKAGE)
    both.write("pack/__main__.py", MODULE)
    both.write("pack/inner/__init__.py", "")
    both.write("pack/inner/program.py", MODULE)
    ended = both.same("-m", module, "-x", "two words")
    assert ended.code == 0 and ended.out.endswith("at work True\n0\n"), ended


EARLY = """
from {library} import Process, Queue
from {library}.pool import Pool

class Doubling(Pool):
    def double(self, function, values):
        return self.map(function, [2 * value for value in values])
"""

CLASSES = """
import {library} as mp, sys
from pack import Doubling

class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(self) is type(other) and self.x == other.x

class Refused(Exception):
    pass

def refuse(x):
    raise Refused(x)

def put(queue):
    queue.put(Point(1))

if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    with Doubling(1) as pool:
        print(pool.double(Point, [1, 2]) == [Point(2), Point(4)])
        try:
            pool.apply(refuse, (3,))
        except Refused as error:
            print(error.args)
    queue = mp.Queue()
    process = mp.Process(target=put, args=(queue,))
    process.start()
    print(queue.get(timeout=30) == Point(1))
    process.join()
    print(process.exitcode)
"""


@pytest.mark.parametrize("native", ["on", "off"])
@pytest.mark.parametrize("library", ["multiprocessing", "tines"])
@pytest.mark.parametrize(
    ("module", "method"), [("pack", "fork"), *(("pack.program", method) for method in METHODS)]
)
def test_classes_of_the_main_module_of_a_package_that_imports_it_first(
    both: Both,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    method: str,
    library: str,
    native: str,
) -> None:
    """``__main__`` has no file yet when the package is imported, and is no interactive session for it."""
    if method not in METHODS:
        pytest.skip(f"there is no {method} here")
    if native == "off":
        monkeypatch.setenv("TINES_NATIVE", "off")
    both.write("pack/__init__.py", EARLY.format(library=library))
    for name in ("__main__", "program"):
        both.write(f"pack/{name}.py", CLASSES.format(library=library))
    run = both.run if library == "multiprocessing" else both.plain
    ended = run("-m", module, method)
    assert (ended.code, ended.out) == (0, "True\n(3,)\nTrue\n0\n"), ended


@pytest.mark.parametrize("text", ["1 / 0", "import absent", "x = = 1", "import sys; sys.exit(5)"])
def test_an_error_in_a_package_of_the_module(both: Both, text: str) -> None:
    both.write("pack/__init__.py", text)
    both.write("pack/__main__.py", "")
    assert both.same("-m", "pack").code == (5 if "exit" in text else 1)


COMMAND = """
import sys
sys.path[0], sys.argv[0] = "/elsewhere/bin", "/elsewhere/bin/tines"
from tines.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_does_the_same(both: Both, kind: str) -> None:
    """A console script has its own directory on the path, and no ``runpy`` below it."""
    for text in (FACTS, FAILURE):
        line, stdin = arguments(both, kind, text)
        command = both.plain("-c", COMMAND, *line, "-x", stdin=stdin)
        assert command == both.plain(*line, "-x", stdin=stdin)


def test_a_program_of_a_commands_name(both: Both) -> None:
    both.write("doctor", "print('not the command')")
    assert both.run("./doctor").out == "not the command\n"


FAMILY = """
import sys

def who(queue=None):
    import concurrent.futures
    import multiprocessing
    import multiprocessing.pool
    import multiprocessing.queues
    from multiprocessing.managers import SyncManager

    classes = (
        multiprocessing.Process,
        multiprocessing.pool.Pool,
        multiprocessing.queues.Queue,
        SyncManager,
        concurrent.futures.ProcessPoolExecutor,
    )
    found = [cls.__module__.partition(".")[0] for cls in classes]
    main = sys.modules["__main__"]
    facts = found, multiprocessing.get_start_method(), sys.argv[1:], main.who is who
    if queue is not None:
        queue.put(facts)
    return facts

def parent(queue):
    import multiprocessing
    child = multiprocessing.Process(target=who, args=(queue,))
    child.start()
    child.join()

if __name__ == "__main__":
    assert "multiprocessing" not in sys.modules
    import multiprocessing as mp
    mp.set_start_method(sys.argv[1])
    queue = mp.Queue()
    process = mp.Process(target=parent, args=(queue,))
    process.start()
    child = queue.get(timeout=30)
    process.join()
    with mp.Pool(1) as pool:
        worker = pool.apply(who)
    with mp.Manager() as manager:
        assert isinstance(manager, mp.managers.SyncManager)
    assert isinstance(queue, mp.queues.Queue)
    assert child == worker == who(), (child, worker, who())
    print(child)
"""


@pytest.mark.parametrize("kind", ["script", "module", "package", "directory"])
@pytest.mark.parametrize("method", METHODS)
def test_it_is_tines_in_all_children(both: Both, method: str, kind: str) -> None:
    if kind in ("directory", "package") and method != "fork":
        pytest.skip("multiprocessing has children import no main module of the name __main__")
    line, _ = arguments(both, kind, FAMILY)
    ended = both.run(*line, method)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"({['tines'] * 5!r}, {method!r}, [{method!r}], True)\n"


@pytest.mark.parametrize("options", [("-E",), ("-I",), ("-S",), ("-I", "-S")])
@pytest.mark.parametrize("method", METHODS)
def test_isolated_interpreters(both: Both, method: str, options: tuple[str, ...]) -> None:
    """The alias reaches children through their command line, whatever they ignore."""
    both.write("program.py", FAMILY)
    start = (
        f"import sys; sys.path[1:1] = {[entry for entry in sys.path if entry]!r}; "
        f"sys.argv[1:] = ['program.py', {method!r}]; from tines.cli import main; sys.exit(main())"
    )
    ended = both.plain("-c", start, options=options)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"({['tines'] * 5!r}, {method!r}, [{method!r}], True)\n"


def test_the_modules_keep_their_names(both: Both) -> None:
    both.write(
        "program.py",
        """
        import importlib, pickle, sys
        import multiprocessing, multiprocessing.queues, multiprocessing.pool
        import multiprocessing.context, multiprocessing.managers, multiprocessing.synchronize
        import tines.queues

        for name in ("queues", "pool", "context", "managers", "synchronize"):
            module = sys.modules[f"multiprocessing.{name}"]
            assert module is getattr(multiprocessing, name) is sys.modules[f"tines.{name}"]
            assert module.__name__ == module.__spec__.name == f"tines.{name}"
            assert importlib.import_module(f"multiprocessing.{name}") is module
        assert multiprocessing.__name__ == multiprocessing.__spec__.name == "multiprocessing"
        assert set(multiprocessing.__all__) <= set(dir(multiprocessing))
        lock = multiprocessing.Lock()
        assert type(lock) is multiprocessing.synchronize.Lock
        for cls in (multiprocessing.Process, type(lock), tines.queues.Queue):
            assert pickle.loads(pickle.dumps(cls)) is cls
        with multiprocessing.pool.ThreadPool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
        from multiprocessing import *
        assert Queue is tines.queues.Queue
        try:
            multiprocessing.absent
        except AttributeError as error:
            assert str(error) == "module 'multiprocessing' has no attribute 'absent'", error
        """,
    )
    assert both.run("program.py") == both.plain("-c", "pass")


def test_logging_sees_no_multiprocessing_before_it_is_imported(both: Both) -> None:
    both.write(
        "program.py",
        """
        import logging, sys
        record = logging.LogRecord("", 0, "", 0, "", (), None)
        print(record.processName, [n for n in sys.modules if n == "multiprocessing"])
        """,
    )
    both.same("program.py")
