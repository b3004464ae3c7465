"""How pools end: in order, at once, forgotten, with the interpreter, with Ctrl-C, and in forks."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import psutil
import pytest

from pool_tasks import nap, pid, square, stubborn
from pool_tools import MakePool
from support.waiting import PATIENCE, wait_for
from tines.engines.local import LocalEngine
from tines.errors import TaskCancelledError
from tines.pool import Pool
from tines.transport.contract import Transport

HERE = Path(__file__).parent


def lives(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped, which init may take its time for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_terminate_resolves_everything(make: MakePool) -> None:
    pool = make()
    results = [pool.apply_async(nap, (50,)) for _ in range(6)]
    mapped = pool.map_async(nap, [50] * 100)
    iterator = pool.imap(nap, (50 for _ in range(100)))
    unordered = pool.imap_unordered(nap, [50] * 100)
    waiting: list[Any] = []

    def wait_for_one(get: Any) -> None:
        try:
            get()
        except BaseException as error:
            waiting.append(error)

    gets = [results[0].get, results[5].get, mapped.get, iterator.next, unordered.next]
    threads = [threading.Thread(target=wait_for_one, args=(get,)) for get in gets]
    for thread in threads:
        thread.start()
    time.sleep(0.05)  # most likely they wait by now; those that do not must not do so any more
    began = time.monotonic()
    pool.terminate()
    assert time.monotonic() - began < 45, "it has waited for a task"
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert [type(error) for error in waiting] == [TaskCancelledError] * 5
    for get in gets:
        with pytest.raises(TaskCancelledError):
            get()
    pool.join()
    pool.terminate()


def test_terminate_does_not_wait_for_workers_that_do_not_listen(make: MakePool) -> None:
    pool = make(2)
    result = pool.apply_async(stubborn, (60,))
    wait_for(result.running)
    time.sleep(0.1)  # it is deaf a moment after it has begun
    began = time.monotonic()
    pool.terminate()
    assert time.monotonic() - began < 45


def _count_sigterm(writer: Any) -> None:
    """Initialize a worker that reports each SIGTERM, and only ends when it is killed."""
    signal.signal(signal.SIGTERM, lambda signum, frame: writer.send("SIGTERM"))
    writer.send("ready")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_worker_is_asked_to_end_only_once(make: MakePool, method: str) -> None:
    ctx = multiprocessing.get_context(method)
    reader, writer = ctx.Pipe(duplex=False)
    with reader, writer:
        pool = make(1, _count_sigterm, (writer,), method=method)
        assert reader.recv() == "ready"
        (worker,) = pool._core.supervisor.workers.values()
        worker.terminate()
        assert reader.recv() == "SIGTERM"
        pool.terminate()  # which asks all workers
        pool.join()
        assert not reader.poll()


@pytest.mark.parametrize("how", ["apply", "map", "error", "done"])
def test_terminate_in_a_callback(make: MakePool, how: str) -> None:
    pool = make()
    rest = [pool.apply_async(nap, (30,)) for _ in range(1)]
    called = threading.Event()

    def callback(_: Any) -> None:
        pool.terminate()
        pool.join()
        called.set()

    if how == "apply":
        pool.apply_async(square, (2,), callback=callback)
    elif how == "map":
        pool.map_async(square, range(10), callback=callback)
    elif how == "error":
        pool.apply_async(square, ("x",), error_callback=callback)
    else:
        pool.apply_async(nap, (0.05,)).add_done_callback(callback)
    assert called.wait(20)
    for result in rest:
        with pytest.raises(TaskCancelledError):
            result.get(timeout=20)
    pool.join()


def test_callbacks_may_use_the_pool(make: MakePool) -> None:
    pool = make()
    found: list[Any] = []
    done = threading.Event()

    def callback(value: int) -> None:
        found.append(pool.apply(square, (value,)))
        found.append(pool.map(square, range(3)))
        done.set()

    result = pool.apply_async(square, (2,), callback=callback)
    assert result.get(timeout=20) == 4
    assert done.is_set()
    assert found == [16, [0, 1, 4]]


def test_exploding_callbacks_are_logged_and_harm_nobody(
    make: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make()

    def explode(_: Any) -> None:
        raise RuntimeError("bang")

    for _ in range(3):
        assert pool.apply_async(square, (2,), callback=explode).get(timeout=20) == 4
    result = pool.apply_async(square, (3,))
    result.add_done_callback(explode)
    assert result.get(timeout=20) == 9
    result.add_done_callback(explode)
    assert pool.map(square, range(3)) == [0, 1, 4]
    wait_for(lambda: len([r for r in caplog.records if "callback" in r.getMessage()]) == 5)
    assert "bang" in caplog.text


def test_a_done_callback_that_is_added_while_others_are_called(make: MakePool) -> None:
    """The result is settled, and its callbacks called, between two steps of the adding thread."""
    pool = make(1)
    result = pool.apply_async(square, (3,))
    assert result.get() == 9
    called = []

    class Interleaved(list[Any]):
        def append(self, fn: Any) -> None:
            result._run_done_callbacks()
            super().append(fn)

    result._done_callbacks = Interleaved([lambda _: called.append("first")])
    result.add_done_callback(lambda _: called.append("second"))
    assert called == ["first", "second"]


def test_a_call_that_the_collector_thread_no_longer_sees_is_not_lost(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make()
    pool.close()
    pool.join()
    collector = pool._core.collector
    called: list[int] = []
    # Whoever calls looks before the thread has quite ended, whoever joins looks afterwards.
    monkeypatch.setattr(collector._thread, "is_alive", iter([True, False]).__next__)
    collector.call_later(lambda: called.append(1))
    collector.join()
    assert called == [1]


def test_done_callbacks(make: MakePool) -> None:
    pool = make()
    found: list[Any] = []
    result = pool.apply_async(nap, (0.05,))
    result.add_done_callback(found.append)
    result.add_done_callback(found.append)
    wait_for(lambda: len(found) == 2)
    assert found == [result, result]
    assert result.done()
    result.add_done_callback(found.append)
    assert len(found) == 3


def test_a_pool_that_is_forgotten_warns_and_ends(transport: Transport) -> None:
    pool: Any = Pool(2, transport=transport)
    workers = pool.map(pid, range(20), chunksize=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del pool
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "unclosed running multiprocessing pool" in str(caught[0].message)
    caught.clear()  # a warning holds what it is about
    wait_for(lambda: not any(lives(worker) for worker in set(workers)))


def test_a_pool_that_is_forgotten_when_it_breaks_ends(make: MakePool) -> None:
    pool = make()
    core = pool._core
    supervisor = core.supervisor
    supervisor._abandoned = True  # it will know of both at once
    core.unstartable(-1, OSError("on purpose"))
    supervisor._thread.join(20)
    assert not supervisor._thread.is_alive() and not supervisor.workers


def test_an_idle_pool_uses_no_processor(make: MakePool, method: str) -> None:
    """Also one whose workers' memory is watched: nothing is looked at while nothing runs."""
    pool = make(2, method=method, max_memory_hard=10**12)
    workers = [psutil.Process(worker) for worker in set(pool.map(pid, range(20), chunksize=1))]
    pool.apply_async(square, (1,)).get()
    processes = [psutil.Process(), *workers]

    def is_quiet() -> bool:
        before = [sum(process.cpu_times()[:2]) for process in processes]
        switches = [process.num_ctx_switches().voluntary for process in processes]
        time.sleep(1.0)
        after = [sum(process.cpu_times()[:2]) for process in processes]
        woken = [process.num_ctx_switches().voluntary for process in processes]
        return (
            max(b - a for a, b in zip(before, after)) <= 0.02
            and max(b - a for a, b in zip(switches, woken)) <= 40
        )

    # On a busy machine what the calls have left to do may take a while. Then there is nothing.
    assert any(is_quiet() for _ in range(5))


def test_the_copy_of_a_pool_in_a_fork_says_that_it_is_one(make: MakePool) -> None:
    pool = make()
    assert pool.apply(square, (2,)) == 4
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_use, args=(pool, writer))
    child.start()
    found = reader.recv()
    child.join(20)
    assert child.exitcode == 0
    assert all("forked child" in text and str(os.getpid()) in text for text in found), found
    assert pool.apply(square, (3,)) == 9


def _use(pool: Pool, writer: Any) -> None:
    found = []
    for use in (
        lambda: pool.apply(square, (2,)),
        lambda: pool.apply_async(square, (2,)),
        lambda: pool.map(square, [2]),
        lambda: pool.imap(square, [2]),
        pool.join,
    ):
        try:
            use()
        except ValueError as error:
            found.append(str(error))
        else:
            found.append("no error")
    pool.terminate()
    writer.send(found)


# Programs of their own: what happens at the end of an interpreter, and to its terminal.


def run(tmp_path: Path, transport: Transport, code: str, **options: Any) -> subprocess.Popen[str]:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "import tines as mp\n"
        "from tines.pool import Pool\n"
        "from tines.transport import named\n"
        "from pool_tasks import *\n" + textwrap.dedent(code)
    )
    source = HERE.parent.parent / "src"
    path = os.pathsep.join([str(source), str(HERE)])
    environment = {**os.environ, "PYTHONPATH": path, "TRANSPORT": transport.name}
    return subprocess.Popen(
        [sys.executable, "-W", "default", str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        **options,
    )


def test_a_pool_that_is_never_closed_does_not_hang_the_interpreter(
    tmp_path: Path, transport: Transport, method: str
) -> None:
    code = f"""
    if __name__ == "__main__":
        pool = mp.get_context({method!r}).Pool(2, transport=named(os.environ["TRANSPORT"]))
        print(pool.map(square, range(3)))
        print(*sorted(set(pool.map(pid, range(40), chunksize=1))))
        pool.apply_async(nap, (60,))
        pool.map_async(nap, [60] * 10)
        iterator = pool.imap(nap, (60 for _ in range(1000)))
    """
    program = run(tmp_path, transport, code)
    out, err = program.communicate(timeout=40)
    assert program.returncode == 0, err
    first, second = out.splitlines()
    assert first == "[0, 1, 4]"
    assert "Traceback" not in err
    wait_for(lambda: not any(lives(int(worker)) for worker in second.split()))


INTERRUPTED = {
    "get": "pool.apply_async(nap, (60,)).get()",
    "apply": "pool.apply(nap, (60,))",
    "map": "pool.map(nap, [60] * 10)",
    "imap": "list(pool.imap(nap, [60] * 10))",
    "imap of a generator": "list(pool.imap_unordered(nap, (60 for _ in range(10))))",
    "join": "pool.apply_async(nap, (60,)); pool.close(); pool.join()",
}


@pytest.mark.parametrize("where", INTERRUPTED)
@pytest.mark.parametrize("managed", [True, False])
def test_ctrl_c(tmp_path: Path, transport: Transport, where: str, managed: bool) -> None:
    body = f"with pool:\n            {INTERRUPTED[where]}" if managed else f"{INTERRUPTED[where]}"
    code = f"""
    if __name__ == "__main__":
        pool = Pool(2, transport=named(os.environ["TRANSPORT"]))
        print(*sorted(set(pool.map(pid, range(40), chunksize=1))), flush=True)
        {body}
    """
    program = run(tmp_path, transport, code)
    assert program.stdout is not None
    workers = [int(worker) for worker in program.stdout.readline().split()]
    assert workers
    time.sleep(0.3)
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=45)  # the naps take longer
    assert program.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    assert len(re.findall(r"^KeyboardInterrupt", err, re.MULTILINE)) == 1
    wait_for(lambda: not any(lives(worker) for worker in workers))


@pytest.mark.parametrize("where", ["get", "imap", "join"])
def test_ctrl_c_under_every_start_method(
    tmp_path: Path, transport: Transport, method: str, where: str
) -> None:
    code = f"""
    if __name__ == "__main__":
        pool = mp.get_context({method!r}).Pool(2, transport=named(os.environ["TRANSPORT"]))
        print(*sorted(set(pool.map(pid, range(40), chunksize=1))), flush=True)
        {INTERRUPTED[where]}
    """
    program = run(tmp_path, transport, code)
    assert program.stdout is not None
    workers = [int(worker) for worker in program.stdout.readline().split()]
    assert workers
    time.sleep(0.3)
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=30)
    assert program.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    wait_for(lambda: not any(lives(worker) for worker in workers))


def test_after_ctrl_c_the_pool_goes_on(tmp_path: Path, transport: Transport) -> None:
    if transport.name == "pipe":
        pytest.skip("an interrupt in the midst of the pipe transport's own code can break it")
    code = """
    if __name__ == "__main__":
        pool = Pool(2, transport=named(os.environ["TRANSPORT"]))
        rounds = 0
        interrupted = 0
        armed = False
        def raise_where_it_is_caught(*_):
            global armed
            if armed:
                armed = False
                raise KeyboardInterrupt
        signal.signal(signal.SIGINT, raise_where_it_is_caught)
        import threading
        stop = threading.Event()
        def interrupt():
            while not stop.wait(0.01):
                os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=interrupt)
        results = []
        thread.start()
        until = time.monotonic() + 2
        while time.monotonic() < until or interrupted <= 10 or rounds <= 10:
            try:
                armed = True
                while True:
                    results.append((pool.apply_async(square, (rounds,)), rounds * rounds))
                    rounds += 1
                    assert pool.apply(square, (7,)) == 49
                    assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
            except KeyboardInterrupt:
                interrupted += 1
        stop.set()
        thread.join()
        assert all(result.get(timeout=30) == value for result, value in results), "lost"
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
        pool.close()
        pool.join()
        print("done")
    """
    program = run(tmp_path, transport, code)
    out, err = program.communicate(timeout=55)
    assert out.split() == ["done"], err


def test_workers_go_when_their_parent_is_killed(
    tmp_path: Path, transport: Transport, method: str
) -> None:
    code = f"""
    if __name__ == "__main__":
        pool = mp.get_context({method!r}).Pool(2, transport=named(os.environ["TRANSPORT"]))
        print(*sorted(set(pool.map(pid, range(40), chunksize=1))), flush=True)
        pool.map(nap, [60] * 10)
    """
    program = run(tmp_path, transport, code)
    assert program.stdout is not None
    workers = [int(worker) for worker in program.stdout.readline().split()]
    program.kill()
    wait_for(lambda: not any(lives(worker) for worker in workers))
    program.communicate()


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_whatever_interrupts_the_start_of_a_pool_leaves_nothing(
    make: MakePool, monkeypatch: pytest.MonkeyPatch, method: str, end: type[BaseException]
) -> None:
    start = LocalEngine.start
    begun: list[Any] = []

    def interrupted(*arguments: Any) -> Any:
        if begun:
            raise end("planted")
        begun.append(start(*arguments))
        return begun[0]

    monkeypatch.setattr(LocalEngine, "start", interrupted)
    with pytest.raises(end, match="planted"):
        make(3, method=method)
    assert not psutil.pid_exists(begun[0].pid)
    assert not [each for each in threading.enumerate() if "pool" in each.name]
