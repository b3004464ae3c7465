"""A main module that starts processes when it is imported: one message, however it does it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="there the standard library starts the children"
)

PROGRAM = """
    import sys
    {package}

    def double(number):
        return 2 * number

    method, how, what = sys.argv[1:]
    if how == "set_start_method":
        mp.set_start_method(method)
        context = mp
    else:
        context = mp.get_context(method)
    if what == "Pool":
        with context.Pool(3) as pool:
            pool.map(double, range(3))
    elif what == "Executor":
        with {executor}(3, mp_context=mp.get_context(method)) as executor:
            list(executor.map(double, range(3)))
    elif what == "Manager":
        context.Manager()
    elif what == "Process":
        process = context.Process(target=double, args=(1,))
        process.start()
        process.join()
        sys.exit(process.exitcode)
"""

GUARD = 'if __name__ == "__main__":'


def run(tmp_path: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(text))
    command = [sys.executable, *arguments[:-3], str(program), *arguments[-3:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("how", ["set_start_method", "get_context"])
@pytest.mark.parametrize("what", ["Pool", "Executor", "Manager", "Process"])
@pytest.mark.parametrize("runner", [(), ("-m", "tines")], ids=["tines", "runner"])
def test_it_is_told_once(
    tmp_path: Path, runner: tuple[str, ...], what: str, how: str, method: str
) -> None:
    names = (
        (
            "import multiprocessing as mp, concurrent.futures",
            "concurrent.futures.ProcessPoolExecutor",
        )
        if runner
        else ("import tines as mp", "mp.ProcessPoolExecutor")
    )
    text = PROGRAM.replace("{package}", names[0]).replace("{executor}", names[1])
    done = run(tmp_path, text, *runner, method, how, what)
    assert done.returncode != 0
    assert done.stderr.count(GUARD) == 1 and done.stderr.count("StartError: ") <= 2, done.stderr
    if what == "Process":  # as in the standard library, for those who look for it
        assert "RuntimeError" in done.stderr
    assert done.stderr.count("Traceback") == (0 if what == "Process" else 1)
    assert len(done.stderr.splitlines()) < 30
    line = {"Process": "process.start()", "Manager": "context.Manager()"}.get(what, "")
    assert line in done.stderr.partition(GUARD)[0]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_the_standard_librarys_function_says_the_same(tmp_path: Path, method: str) -> None:
    """There it is an error that the method is set again, which each worker would print."""
    text = """
        import multiprocessing, sys, tines

        multiprocessing.set_start_method(sys.argv[1])
        if __name__ == "__main__":
            what = tines.Pool if sys.argv[2] == "Pool" else tines.Manager
            with what() as made:
                print(made.apply(abs, (-1,)))
    """
    for what in ("Pool", "Manager"):
        done = run(tmp_path, text, method, what, "")
        assert done.returncode == 1
        assert done.stderr.count(GUARD) == 1 and done.stderr.count("Traceback") == 1, done.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_may_set_the_method_that_it_has(tmp_path: Path, method: str) -> None:
    text = """
        import sys, tines

        try:
            tines.set_start_method(sys.argv[1])
            tines.set_start_method("fork" if __name__ == "__mp_main__" else sys.argv[1])
        except RuntimeError as error:
            print(__name__, error, flush=True)

        if __name__ == "__main__":
            process = tines.Process(target=print, args=("ran",))
            process.start()
            process.join()
    """
    done = run(tmp_path, text, method, "", "")
    refused = "context has already been set"
    expected = [f"__main__ {refused}", f"__mp_main__ {refused}", "ran"]
    if (
        method == "forkserver"
    ):  # the server imports the main module too, and the child does not again
        assert sorted(done.stdout.splitlines()) == sorted(expected)
    else:
        assert done.stdout.splitlines() == expected
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_server_that_does_not_start_is_no_end_of_file(tmp_path: Path, method: str) -> None:
    text = """
        import os, sys, tines

        if __name__ == "__main__":
            from tines.managers import SyncManager

            manager = SyncManager(ctx=tines.get_context(sys.argv[1]))
            try:
                manager.start(os._exit, (7,))
            except tines.StartError as error:
                print(error)
    """
    done = run(tmp_path, text, method, "", "")
    assert "exited with code 7 before it was ready" in done.stdout, done.stderr
