"""The fork server: warm, clean, replaceable; and spawn, where both share the way in."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

import tines as mp
from forkserver_tools import start
from tines.process.start import early, forkserver, forkserver_client

pytestmark = pytest.mark.skipif(
    "forkserver" not in mp.get_all_start_methods(), reason="there is no fork server here"
)

state: list[int] = []


@pytest.fixture
def ctx():
    return mp.get_context("forkserver")


def run(tmp_path, program, *flags, **options):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    return subprocess.run(
        [sys.executable, *flags, str(path)], capture_output=True, text=True, timeout=60, **options
    )


def touch_state():
    state.append(1)
    return len(state), os.getppid(), threading.active_count()


def test_each_child_is_forked_from_the_same_clean_server(server, ctx):
    results = {start(ctx, touch_state).result(30) for _ in range(4)}
    assert results == {(1, server.server[0], 1)}
    assert state == []


def test_a_server_can_be_begun_before_the_first_child(server, ctx):
    forkserver_client.stop()
    early.begin("forkserver", ())
    begun, _ = forkserver_client._client.server
    early.begin("forkserver", ())
    assert forkserver_client._client.server[0] == begun
    assert start(ctx, os.getppid).result(30) == begun


def test_children_wait_in_advance_whatever_happened_before(server, ctx):
    for _ in range(3):
        processes = [start(ctx, os.getpid) for _ in range(5)]
        assert len({process.result(30) for process in processes}) == 5
    for process in processes:
        process.join()
    while len(psutil.Process(server.server[0]).children()) != forkserver._IN_WAITING:
        time.sleep(0.001)


def test_starts_from_many_threads(server, ctx):
    results = []

    def several():
        for number in range(5):
            results.append(start(ctx, abs, number).result(60))

    threads = [threading.Thread(target=several) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(list(range(5)) * 6)


def use_the_same_server():
    process = mp.get_context("forkserver").Process(target=os.getppid, returns=True)
    process.start()
    return os.getppid(), process.result(30)


def test_children_share_the_server(server, ctx):
    assert len(set(start(ctx, use_the_same_server).result(30))) == 1
    process = mp.get_context("fork").Process(target=use_the_same_server, returns=True)
    process.start()
    assert process.result(30)[1] == server.server[0]


def test_too_many_descriptors_are_refused(server, ctx):
    pipes = [ctx.Pipe() for _ in range(130)]
    process = ctx.Process(target=len, args=(pipes,))
    with pytest.raises(ValueError, match="at most 2"):
        process.start()
    for pair in pipes:
        for end in pair:
            end.close()


PROGRAM = """
    import os, sys, threading
    import tines as mp

    print("imported by", "parent" if __name__ == "__main__" else "server", flush=True)
    {extra}

    class Thing:
        pass

    def target(thing):
        print("child", os.getpid() != int(sys.argv[1]) if sys.argv[1:] else "", flush=True)
        return type(thing) is Thing

    if __name__ == "__main__":
        mp.set_start_method("{method}")
        {setup}
        for _ in range(3):
            process = mp.Process(target=target, args=(Thing(),), returns=True)
            process.start()
            assert process.result(30) is True
"""


def test_the_main_module_is_imported_once(tmp_path):
    done = run(tmp_path, PROGRAM.format(extra="", setup="", method="forkserver"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("imported by server") == 1
    assert done.stdout.count("child") == 3
    assert done.stderr == ""


def test_only_what_is_named_is_preloaded(tmp_path):
    (tmp_path / "extra_module.py").write_text("print('extra', flush=True)")
    setup = 'mp.set_forkserver_preload(["extra_module"])'
    done = run(tmp_path, PROGRAM.format(extra="", setup=setup, method="forkserver"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("extra") == 1
    assert done.stdout.count("imported by server") == 3


def test_an_error_in_preloading_is_reported(tmp_path):
    (tmp_path / "broken_module.py").write_text("1 / 0")
    for on_error in ("warn", "ignore", "fail"):
        setup = f'mp.set_forkserver_preload(["broken_module", "missing"], on_error="{on_error}")'
        done = run(tmp_path, PROGRAM.format(extra="", setup=setup, method="forkserver"))
        assert (done.returncode == 0) == (on_error != "fail"), done.stderr
        assert ("ZeroDivisionError" in done.stderr) == (on_error != "ignore")
        assert ("No module named 'missing'" in done.stderr) == (on_error != "ignore")
    assert "StartError" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["import sys; sys.exit(3)", "class Own(BaseException): pass\nraise Own('no')"],
    ids=["exits", "raises"],
)
@pytest.mark.parametrize("where", ["module", "main"])
def test_what_is_preloaded_cannot_end_the_server(tmp_path, text, where):
    """In the main module it ends each child, whose exit code is what the module says."""
    (tmp_path / "ends.py").write_text(text)
    if where == "module":
        setup = 'mp.set_forkserver_preload(["ends"])'
        done = run(tmp_path, PROGRAM.format(extra="", setup=setup, method="forkserver"))
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("child") == 3
        assert ("SystemExit: 3" in done.stderr) == ("sys.exit" in text)
        return
    done = run(
        tmp_path,
        """
        import tines as mp

        if __name__ == "__main__":
            process = mp.get_context("forkserver").Process(target=int)
            process.start()
            process.join()
            print("ended with", process.exitcode)
        else:
            import ends
        """,
    )
    assert done.returncode == 0, done.stderr
    assert f"ended with {3 if 'sys.exit' in text else 1}" in done.stdout


def test_a_module_that_ends_each_server_is_left_to_the_children(tmp_path):
    (tmp_path / "ends.py").write_text("import os; os._exit(3)")
    setup = 'mp.set_forkserver_preload(["ends"])'
    done = run(tmp_path, PROGRAM.format(extra="", setup=setup, method="forkserver"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("child") == 3
    assert "will import the modules themselves (ends)" in done.stderr
    setup = 'mp.set_forkserver_preload(["ends"], on_error="fail")'
    done = run(tmp_path, PROGRAM.format(extra="", setup=setup, method="forkserver"))
    assert done.returncode != 0 and "StartError" in done.stderr


def test_bad_preload_lists():
    with pytest.raises(TypeError, match="module_names must be a list of strings, not 'numpy'"):
        mp.set_forkserver_preload("numpy")
    with pytest.raises(ValueError, match="on_error='raise'"):
        mp.set_forkserver_preload(["numpy"], on_error="raise")


def test_a_main_module_that_starts_threads_is_left_to_the_children(tmp_path):
    extra = 'threading.Thread(target=threading.Event().wait, daemon=True, name="busy").start()'
    done = run(tmp_path, PROGRAM.format(extra=extra, setup="", method="forkserver"))
    assert done.returncode == 0, done.stderr
    assert "started threads (busy)" in done.stderr
    assert done.stdout.count("imported by server") == 1 + 3


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_unguarded_main_module_is_told_how_to_guard(tmp_path, method):
    done = run(
        tmp_path,
        f"""
        import tines as mp
        mp.set_start_method("{method}", force=True)
        process = mp.Process(target=print)
        process.start()
        process.join()
        raise SystemExit(process.exitcode)
        """,
    )
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr and "StartError" in done.stderr
    assert done.stderr.count("StartError") <= 2


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_tines_is_found_where_only_the_parents_path_leads(tmp_path, method):
    source = os.path.dirname(os.path.dirname(mp.__file__))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = f"import sys; sys.path.insert(0, {source!r})" + textwrap.dedent(
        PROGRAM.format(extra="", setup="", method=method)
    )
    # Without site-packages, where tines may be installed.
    done = run(tmp_path, program, "-S", env=environment, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("flags", [["-E"], ["-s"], ["-W", "error::ResourceWarning"], ["-X", "dev"]])
def test_flags_reach_children(tmp_path, flags):
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path[:0] = {sys.path!r}
            import tines as mp

            def flags():
                return tuple(sys.flags), sys.warnoptions, sorted(sys._xoptions)

            if __name__ == "__main__":
                for method in ("spawn", "forkserver"):
                    process = mp.get_context(method).Process(target=flags, returns=True)
                    process.start()
                    assert process.result(60) == flags(), process.result()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, *flags, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr, done.stderr


def size():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_a_start_does_nothing_that_grows_with_the_parent(server, ctx, monkeypatch):
    """It neither copies this process nor hands on its memory. (How long it takes: benchmarks.)"""
    assert start(ctx, int).result(30) == 0
    ballast = bytearray(b"1") * 2**28
    forks = []
    os.register_at_fork(before=lambda: forks.append(1))
    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", None)
    for _ in range(3):
        assert start(ctx, size).result(30) < size() - len(ballast) // 2
    assert forks == []
