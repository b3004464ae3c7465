"""``tines`` has the names of ``multiprocessing`` on every interpreter; differences explained."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import os
import pkgutil
import subprocess
import sys
import time

import pytest

import tines as mp

SUBMODULES = [
    "connection",
    "context",
    "dummy",
    "dummy.connection",
    "managers",
    "pool",
    "process",
    "queues",
    "reduction",
    "resource_tracker",
    "shared_memory",
    "sharedctypes",
    "spawn",
    "synchronize",
    "util",
]

NOT_HERE = {
    "forkserver": "ours is tines.process.start.forkserver; what is public of it is in the package",
    "heap": "the memory behind RawValue and RawArray: no public name",
    "popen_fork": "private; ours are in tines.process",
    "popen_forkserver": "private; ours are in tines.process",
    "popen_spawn_posix": "private; ours are in tines.process",
    "popen_spawn_win32": "private; ours are in tines.process",
    "resource_sharer": "what pickled connections use by themselves",
}
"""Submodules of the standard library that have no counterpart, and why."""

OWN = {
    "DecodeError",
    "EncodeError",
    "NodeLostError",
    "NodeMismatchError",
    "PoolBrokenError",
    "ProcessLostError",
    "ProcessPoolExecutor",
    "QueueShutDown",
    "ResultEncodeError",
    "StartError",
    "TaskCancelledError",
    "TaskTimeoutError",
    "TinesError",
    "Trace",
    "TransportError",
    "WaitTimeout",
    "WorkerLostError",
    "as_completed",
    "trace",
    "wait",
}

# Classes here, methods of the default context there: they are called with the same, and serve in
# annotations and isinstance() as well.
CLASSES = {"JoinableQueue", "Pool", "Queue", "SimpleQueue"}


def test_all_names_are_here_and_no_others():
    assert set(mp.__all__) - OWN == set(multiprocessing.__all__)
    assert len(mp.__all__) == len(set(mp.__all__))
    assert list(mp.__all__) == sorted(mp.__all__)


def test_every_submodule_is_here_or_explained():
    theirs = {module.name for module in pkgutil.iter_modules(multiprocessing.__path__)}
    assert theirs - set(NOT_HERE) == {name for name in SUBMODULES if "." not in name}
    assert set(NOT_HERE) <= theirs


@pytest.mark.parametrize("name", sorted(mp.__all__))
def test_every_name_can_be_had(name):
    pytest.importorskip(
        {"Pool": "tines.pool"}.get(name, "tines.queues" if "Queue" in name else "os")
    )
    value = getattr(mp, name)
    assert name in dir(mp)
    if name in CLASSES:
        assert isinstance(value, type)
    elif name not in OWN:
        assert type(value) is type(getattr(multiprocessing, name))


@pytest.mark.parametrize(
    "name", ["AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError"]
)
def test_errors_are_the_standard_librarys_own(name):
    assert getattr(mp, name) is getattr(multiprocessing, name)


def test_there_is_one_set_of_processes():
    assert mp.current_process() is multiprocessing.current_process()
    assert mp.parent_process() is multiprocessing.parent_process()
    assert issubclass(mp.Process, multiprocessing.Process)
    process = mp.Process(target=time.sleep, args=(1000,))
    process.start()
    assert process in multiprocessing.active_children() and process in mp.active_children()
    process.kill()
    process.join()
    assert process not in multiprocessing.active_children()


@pytest.mark.parametrize("name", [name for name in SUBMODULES if "." not in name])
def test_submodules_are_attributes_without_an_import(name: str) -> None:
    """In ``multiprocessing`` they are as soon as something of theirs was made."""
    look = f"import sys, tines as mp; print(mp.{name} is sys.modules['tines.{name}'])"
    found = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout == "True\n", found.stderr


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodules_have_the_standard_librarys_names(name):
    theirs = importlib.import_module(f"multiprocessing.{name}")
    try:
        ours = importlib.import_module(f"tines.{name}")
    except ImportError as error:
        pytest.skip(str(error))
    public = getattr(theirs, "__all__", ()) or [
        name
        for name, value in vars(theirs).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == theirs.__name__
    ]
    for entry in public:
        if not entry.startswith("_"):
            assert getattr(ours, entry) is not None
    for entry in ours.__all__:
        assert getattr(ours, entry) is not None


@pytest.mark.parametrize("name", sorted(set(multiprocessing.__all__) - CLASSES))
def test_signatures_accept_what_the_standard_library_accepts(name):
    theirs, ours = getattr(multiprocessing, name), getattr(mp, name)
    if not callable(theirs):
        return
    try:
        wanted = inspect.signature(theirs).parameters.values()
    except ValueError:
        return
    given = inspect.signature(ours).parameters
    names = [parameter.name for parameter in wanted if parameter.kind is not parameter.VAR_KEYWORD]
    assert list(given)[: len(names)] == names


class TestContexts:
    def test_methods_are_those_of_the_interpreter(self):
        assert mp.get_all_start_methods() == multiprocessing.get_all_start_methods()

    def test_contexts_are_ours_and_the_standard_librarys_kind(self):
        for method in mp.get_all_start_methods():
            context = mp.get_context(method)
            assert context is mp.get_context(method) and context.get_context() is context
            assert context.get_start_method() == method
            assert isinstance(context, type(multiprocessing.get_context(method)))
            assert context.Process.__module__.startswith("tines")
            with pytest.raises(ValueError, match="concrete"):
                context.set_start_method("spawn")

    def test_an_unknown_method_names_those_there_are(self):
        with pytest.raises(ValueError, match=r"'thread'.*'spawn'"):
            mp.get_context("thread")
        with pytest.raises(ValueError, match="'thread'"):
            mp.set_start_method("thread", force=True)

    @pytest.mark.parametrize("set_by", [mp, multiprocessing])
    def test_there_is_one_default_in_a_program(self, set_by):
        program = f"""if True:
            import multiprocessing
            import tines
            assert tines.get_start_method(allow_none=True) is None
            {set_by.__name__}.set_start_method("spawn")
            assert tines.get_start_method() == multiprocessing.get_start_method() == "spawn"
            assert tines.get_context().Process is tines.context.SpawnProcess
            for package in (tines, multiprocessing):
                try:
                    package.set_start_method("fork")  # which Windows does not even have
                except RuntimeError as error:
                    assert "already" in str(error)
                else:
                    raise SystemExit("set twice")
            tines.set_start_method(None, force=True)
            assert multiprocessing.get_start_method(allow_none=True) is None
        """
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    def test_objects_are_bound_to_the_context(self):
        for method in mp.get_all_start_methods():
            context = mp.get_context(method)
            lock = context.Lock()
            assert (
                lock._is_fork_ctx == (method == "fork") if hasattr(lock, "_is_fork_ctx") else True
            )
            with lock, context.Value("i", 3).get_lock():
                pass


def add_one(value, names, connection, lock):
    with lock, value.get_lock():
        value.value += 1
    names.append(mp.current_process().name)
    connection.send(mp.parent_process().name)


@pytest.mark.parametrize("method", mp.get_all_start_methods())
def test_everything_works_together(method):
    context = mp.get_context(method)
    with context.Manager() as manager:
        names, value, lock = manager.list(), context.Value("i", 1), context.RLock()
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=add_one, args=(value, names, writer, lock), name="anna")
        process.start()
        assert reader.recv() == mp.current_process().name
        process.join()
        assert process.exitcode == 0
        assert value.value == 2 and list(names) == ["anna"]
        assert type(manager._process).__module__.startswith("tines")


def test_cpu_count_is_what_may_be_used():
    assert 1 <= mp.cpu_count() <= (os.cpu_count() or 1)


def modules():
    for module in pkgutil.walk_packages(mp.__path__, "tines."):
        if not module.name.endswith("__main__"):
            yield module.name


@pytest.mark.parametrize("name", list(modules()))
def test_every_module_imports_alone(name):
    """Each in a fresh interpreter: none relies on what another happened to import before."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], capture_output=True, text=True, timeout=60
    )
    missing = (
        "No module named 'tines.",
        "_native",
        "named 'joblib'",
        "named 'torch'",
        "named 'starlette'",
        "named 'rich'",
    )
    if sys.platform == "win32":
        missing += ("need POSIX", "needs Linux")
    if any(text in done.stderr for text in missing):
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    ["queues.Queue", "queues.JoinableQueue", "queues.SimpleQueue", "pool.ApplyResult"],
)
def test_a_class_with_a_parameter_keeps_it(name: str) -> None:
    module, _, kind = name.partition(".")
    ours = getattr(importlib.import_module(f"tines.{module}"), kind)
    theirs = getattr(importlib.import_module(f"multiprocessing.{module}"), kind)
    # The standard library's queues have it since 3.13 only, and ours always.
    for one in (theirs, ours) if hasattr(theirs, "__class_getitem__") else (ours,):
        assert one[int].__origin__ is one
        assert one[int].__args__ == (int,)


@pytest.mark.parametrize("module", ["multiprocessing.context", "tines.context"])
def test_contexts_that_libraries_register_are_found(monkeypatch, module):
    """joblib does this, for ``loky``; under an alias it is ours that it registers with."""

    class Registered(multiprocessing.context.SpawnContext):
        _name = "registered"

    context = Registered()
    contexts = importlib.import_module(module)._concrete_contexts
    monkeypatch.setitem(contexts, "registered", context)
    assert mp.get_context("registered") is context
    assert ("registered" in mp.get_all_start_methods()) is (sys.version_info >= (3, 14))
    for method in mp.get_all_start_methods():
        assert mp.get_context(method).get_start_method() == method
    with pytest.raises(
        ValueError, match=r"cannot find context for 'absent': use one of .*'registered'"
    ):
        mp.get_context("absent")
