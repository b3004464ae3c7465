"""What programs meet under the alias: identities, pickles by name, hidden names, start methods."""

from __future__ import annotations

import importlib
import multiprocessing
import multiprocessing.pool
import multiprocessing.queues

import pytest

from both import Both

METHODS = multiprocessing.get_all_start_methods()


@pytest.mark.parametrize("method", METHODS)
def test_objects_of_the_main_module_come_back(both: Both, method: str) -> None:
    """A child that is spawned calls the main module ``__mp_main__``, and so do its pickles."""
    both.write(
        "program.py",
        """
        import multiprocessing, sys
        from concurrent.futures import ProcessPoolExecutor

        class Point:
            def __init__(self, x):
                self.x = x

        class Refused(Exception):
            pass

        def point(x):
            return Point(x)

        def refuse():
            raise Refused("no")

        def send(queue):
            queue.put(Point(4))

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            with context.Pool(1) as pool, ProcessPoolExecutor(1, mp_context=context) as executor:
                points = [pool.apply(point, (1,)), *pool.map(point, [2])]
                points.append(executor.submit(point, 3).result())
                for call in (pool.apply_async(refuse).get, executor.submit(refuse).result):
                    try:
                        call()
                    except Refused as error:
                        print("caught", error)
            queue = context.Queue()
            process = context.Process(target=send, args=(queue,))
            process.start()
            points.append(queue.get(timeout=30))
            process.join()
            print([p.x for p in points if type(p) is Point])
        """,
    )
    ended = both.same("program.py", method)
    assert (ended.code, ended.out) == (0, "caught no\ncaught no\n[1, 2, 3, 4]\n"), ended.err


@pytest.mark.parametrize("module", [False, True], ids=["script", "module"])
def test_a_childs_default_start_method(both: Both, module: bool) -> None:
    """It is its own, if the child was made by a context of that; else that of its parent."""
    both.write(
        "program.py",
        """
        import multiprocessing, sys

        def show(how):
            print(how, multiprocessing.get_start_method(), flush=True)
            if how.endswith("again"):
                return
            child = multiprocessing.Process(target=show, args=(how + " again",))
            child.start()
            child.join()

        if __name__ == "__main__":
            for default in multiprocessing.get_all_start_methods():
                multiprocessing.set_start_method(default, force=True)
                for method in (None, *multiprocessing.get_all_start_methods()):
                    context = multiprocessing.get_context(method)
                    child = context.Process(target=show, args=(f"{default} {method}",))
                    child.start()
                    child.join()
                child = multiprocessing.Process(target=show, args=(f"{default} plain",))
                child.start()
                child.join()
        """,
    )
    ended = both.same(*(["-m", "program"] if module else ["program.py"]))
    assert ended.code == 0 and ended.out


def test_proxies_of_managers_are_pickled_by_name(both: Both) -> None:
    """What is in the standard library's modules is found there by cloudpickle, which imports none."""
    pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    both.write(
        "program.py",
        """
        import cloudpickle, multiprocessing, pickle

        if __name__ == "__main__":
            with multiprocessing.Manager() as manager:
                for proxy in (manager.list(), manager.dict(), manager.Lock(), manager.Queue()):
                    by_value, by_name = cloudpickle.dumps(proxy), pickle.dumps(proxy)
                    print(type(proxy).__name__, len(by_value) <= len(by_name) + 20)
                    assert type(pickle.loads(by_value)) is type(proxy)
        """,
    )
    assert both.same("program.py").code == 0


def test_joblib_with_a_managers_list(both: Both) -> None:
    pytest.importorskip("joblib", reason="joblib is not installed")
    both.write(
        "program.py",
        """
        import joblib, multiprocessing

        def note(shared, number):
            shared.append(number)

        if __name__ == "__main__":
            with multiprocessing.Manager() as manager:
                shared = manager.list()
                joblib.Parallel(2)(joblib.delayed(note)(shared, n) for n in range(4))
                print(sorted(shared))
        """,
    )
    ended = both.same("program.py")
    assert (ended.code, ended.out) == (0, "[0, 1, 2, 3]\n"), ended.err


@pytest.mark.parametrize("name", ["context", "managers", "pool", "queues", "synchronize"])
def test_hidden_names_are_the_standard_librarys(name: str) -> None:
    theirs = importlib.import_module(f"multiprocessing.{name}")
    ours = importlib.import_module(f"tines.{name}")
    # A part of the pool has the name of a function that only the standard library's pools can use.
    parts = {"worker"} if name == "pool" else set()
    for entry, value in vars(theirs).items():
        if not entry.startswith("__") and entry not in parts:
            own = getattr(ours, entry)
            if entry not in vars(ours) and entry not in ("_default_context", "_concrete_contexts"):
                assert own is value, entry
    with pytest.raises(AttributeError, match="absent"):
        ours.absent  # noqa: B018


def test_programs_import_hidden_names(both: Both) -> None:
    both.write(
        "program.py",
        """
        import multiprocessing.pool, multiprocessing.queues
        from multiprocessing.pool import (
            CLOSE, RUN, TERMINATE, ExceptionWithTraceback, MaybeEncodingError, RemoteTraceback,
            job_counter, mapstar, starmapstar,
        )
        from multiprocessing.queues import Empty, Full, _sentinel

        print(RUN, CLOSE, TERMINATE, mapstar((abs, [-1])), starmapstar((pow, [(2, 3)])))
        print(multiprocessing.pool.ExceptionWithTraceback is ExceptionWithTraceback)
        """,
    )
    assert both.same("program.py").code == 0


class TestThreadPool:
    def test_it_is_a_pool(self, both: Both) -> None:
        both.write(
            "program.py",
            """
            import multiprocessing, multiprocessing.dummy, multiprocessing.pool
            from multiprocessing.pool import Pool, ThreadPool

            if __name__ == "__main__":
                print(issubclass(ThreadPool, Pool), issubclass(Pool, ThreadPool))
                for make in (ThreadPool, multiprocessing.dummy.Pool):
                    with make(2) as pool:
                        print(isinstance(pool, Pool), isinstance(pool, ThreadPool))
                        print(pool.map(abs, [-1, -2]), pool.apply(abs, (-3,)), list(pool.imap(abs, [-4])))
                        print(pool._processes, len(pool._pool), pool._state)
                    pool.join()
                print(hasattr(ThreadPool, "absent"), hasattr(pool, "statistics"))
                with multiprocessing.Pool(1) as pool:
                    print(isinstance(pool, Pool), isinstance(pool, ThreadPool))
            """,
        )
        ended = both.same("program.py")
        assert ended.code == 0 and "True False" in ended.out, ended.err

    def test_it_has_nothing_of_a_pool_of_processes(self) -> None:
        from tines.pool import Pool, ThreadPool

        ours = {
            name for name in {*dir(Pool)} - {*dir(multiprocessing.pool.Pool)} if name[:2] != "__"
        }
        assert "statistics" in ours
        with ThreadPool(1) as pool:
            assert isinstance(pool, multiprocessing.pool.ThreadPool)
            for name in ours - set(vars(pool)) - {"istarmap", "istarmap_unordered"}:
                assert not hasattr(pool, name)
            with pytest.raises(AttributeError, match="a ThreadPool has no attribute 'statistics'"):
                pool.statistics()


FOREIGN = """
import importlib
import sys
import tines

for name in sys.argv[1:]:
    sys.modules["multiprocessing." + name] = importlib.import_module("tines." + name)

def double(number):
    return 2 * number

if __name__ == "__main__":
    from multiprocessing.managers import SyncManager
    from multiprocessing.pool import MaybeEncodingError, Pool, ThreadPool, mapstar

    for make in (Pool, tines.Pool, ThreadPool):
        with make(2) as pool:
            assert pool.map(double, range(3)) == [0, 2, 4]
    queue = tines.Queue()
    queue.put(tines.Lock().acquire())
    assert queue.get()
    with tines.Manager() as manager:
        assert list(manager.list([1])) == [1] and isinstance(manager, SyncManager)
    ours, theirs = tines.Pipe()
    theirs.send(tines.Value("i", 3).value)
    assert ours.recv() == 3
    process = tines.Process(target=double, args=(1,))
    process.start()
    process.join()
    assert process.exitcode == 0
    print("done")
"""

REPLACED = ("context", "managers", "pool", "queues", "synchronize")
MIRRORED = ("connection", "reduction", "resource_tracker", "sharedctypes", "spawn", "util")


@pytest.mark.parametrize("names", [("pool",), REPLACED, (*MIRRORED, *REPLACED)], ids=len)
def test_an_alias_by_hand(both: Both, names: tuple[str, ...]) -> None:
    """A program may put our modules in place itself; they still find what they are derived from."""
    both.write("program.py", FOREIGN)
    ended = both.plain("program.py", *names)
    assert (ended.code, ended.out) == (0, "done\n"), ended.err


def test_it_brings_nothing_along_that_a_new_interpreter_would_have_to_load(both: Both) -> None:
    both.write(
        "heavy.py",
        "import sys, multiprocessing; print({'importlib.abc', 'zipfile'} & {*sys.modules})",
    )
    both.same("heavy.py")
