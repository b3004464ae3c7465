"""The context of an engine: processes on nodes, the queues between them, and what cannot be there."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import active_children, connection, shared_memory
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

import context_tasks
import tines
from context_tasks import (
    Adder,
    consume,
    crash,
    double,
    fail,
    fill,
    hand_over,
    keep,
    make_queue,
    put_kept,
    start_another,
    take,
    twice,
    wait_for_interrupt,
)
from engine_tools import guard, kill_a_program_with_nodes, lives
from support.waiting import SLOWNESS, wait_for
from tines import transport
from tines.engines.remote import silence
from tines.errors import EncodeError, NodeLostError, ProcessLostError, StartError


@pytest.fixture
def context() -> Iterator[Any]:
    """A context with two nodes; neither they nor any process on them is left afterwards."""
    context: Any = tines.get_context(engine="simulated:2")
    with context:
        yield context
        nodes = context.nodes()
    pids = [pid for each in nodes for pid in (each.pid, *each.workers)]
    wait_for(lambda: not [pid for pid in pids if lives(pid)])


def test_processes_on_all_nodes_speak_through_queues(context: Any) -> None:
    given, taken = context.Queue(), context.Queue()
    processes = [context.Process(target=double, args=(given, taken)) for _ in range(2)]
    assert processes[0].node is None
    for process in processes:
        process.start()
    nodes = {each.name: each for each in context.nodes()}
    assert {each.node for each in processes} == set(nodes)
    for number in range(100):
        given.put(number)
    found = [taken.get(timeout=30) for _ in range(100)]
    assert sorted(each[0] for each in found) == [2 * number for number in range(100)]
    homes = {each.pid: nodes[each.node].pid for each in processes}
    assert {pid: agent for _, pid, agent in found}.items() <= homes.items()
    assert all(each.is_alive() and each.exitcode is None for each in processes)
    assert set(processes) <= set(active_children())
    processes[0].join(0)
    for _ in processes:
        given.put(None)
    waiting = {each.sentinel for each in processes}
    while waiting:
        waiting -= set(connection.wait(list(waiting), 30))
    assert [each.exitcode for each in processes] == [0, 0]
    for process in processes:
        process.join()
        process.close()
    assert not set(processes) & set(active_children())


def test_a_queue_has_its_bounds_and_counts_across_nodes(context: Any) -> None:
    bounded, counted, simple = context.Queue(3), context.JoinableQueue(), context.SimpleQueue()
    filling = context.Process(target=fill, args=(bounded,), returns=True)
    filling.start()
    assert filling.result(30) == 3
    assert (bounded.qsize(), bounded.full()) == (3, True)
    assert bounded.get_many(9) == [0, 1, 2]
    with pytest.raises(Empty):
        bounded.get(timeout=0.01)
    for number in range(3):
        counted.put(number)
    consuming = context.Process(target=consume, args=(counted,))
    consuming.start()
    counted.join()
    putting = context.Process(target=hand_over, args=(simple, counted))  # a queue in a queue
    putting.start()
    simple.get().put(b"x" * 1_000_000)
    assert counted.get(timeout=30) == b"x" * 1_000_000
    for process in (consuming, putting):
        process.join()
        assert process.exitcode == 0


def test_what_becomes_of_a_process_is_known(context: Any) -> None:
    ready, never = context.SimpleQueue(), context.SimpleQueue()
    made: dict[str, Any] = {
        "value": context.Process(target=twice, args=(b"x" * 100_000,), returns=True),
        "error": context.Process(target=fail, returns=True),
        "crash": context.Process(target=crash, returns=True),
        "interrupt": context.Process(target=wait_for_interrupt, args=(ready,), returns=True),
        "terminate": context.Process(target=never.get),
        "kill": context.Process(target=never.get, daemon=True),
    }
    for process in made.values():
        process.start()
    with pytest.raises(StartError):
        made["value"].start()
    assert made["value"].result(30) == b"x" * 200_000
    with pytest.raises(ZeroDivisionError, match="on the node") as caught:
        made["error"].result(30)
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(ProcessLostError, match="SIGSEGV") as lost:
        made["crash"].result(30)
    assert lost.value.dump is not None
    assert "in crash" in lost.value.dump
    assert ready.get() is None
    made["interrupt"].interrupt()
    assert made["interrupt"].result(30) == "interrupted"
    made["terminate"].terminate()
    made["kill"].kill()
    for process in made.values():
        process.join()
    assert {name: each.exitcode for name, each in made.items()} == {
        "value": 0,
        "error": 1,
        "crash": -signal.SIGSEGV,
        "interrupt": 0,
        "terminate": -signal.SIGTERM,
        "kill": -signal.SIGKILL,
    }
    with pytest.raises(NotImplementedError, match="another node"):
        made["kill"].stacks()


def test_a_class_derived_from_its_process_is_itself_on_the_node() -> None:
    with context_tasks.CONTEXT:
        process = Adder(1, 2, 3)
        process.start()
        assert process.result(30) == (6, "Adder", "adder", True)
    with pytest.raises(StartError, match="have ended"):
        Adder(1).start()


def test_a_lost_node_costs_its_processes_and_what_they_took(context: Any) -> None:
    given, taken = context.Queue(), context.Queue()
    lost, other = (
        context.Process(target=double, args=(given, taken), returns=True) for _ in range(2)
    )
    lost.start()
    other.start()
    (agent,) = (each.pid for each in context.nodes() if each.name == lost.node)
    os.kill(agent, signal.SIGKILL)
    with pytest.raises(NodeLostError, match=lost.node) as caught:
        lost.result(30)
    assert (caught.value.node, lost.exitcode, lost.is_alive()) == (lost.node, 255, False)
    wait_for(lambda: not lives(lost.pid))
    given.put(4)
    assert taken.get(timeout=30)[:2] == (8, other.pid)
    assert [each.state for each in context.nodes() if each.name == lost.node] == ["lost"]
    again = context.Process(target=twice, args=(1,), returns=True)
    again.start()
    assert (again.result(30), again.node) == (2, other.node)
    given.put(None)
    assert other.result(30) is None


def test_a_process_that_may_have_begun_on_a_lost_node_is_not_started_on_another(
    context: Any,
) -> None:
    first, second = context.nodes()
    for node in (first, second):
        os.kill(node.pid, signal.SIGSTOP)
    process = context.Process(target=twice, args=(1,), returns=True)
    starting = threading.Thread(target=process.start)
    starting.start()
    places = context._cluster._engine._hub.nodes
    wait_for(lambda: [each for each in places if each.workers])
    (chosen,) = [each.pid for each in places if each.workers]
    for node in (first, second):
        os.kill(node.pid, signal.SIGKILL if node.pid == chosen else signal.SIGCONT)
    starting.join(30)
    with pytest.raises(NodeLostError):
        process.result(30)


def test_bytes_that_look_like_what_cannot_travel_are_bytes(context: Any) -> None:
    queue = context.Queue()
    for sent in (b"from multiprocessing.synchronize import Lock " * 2000, b"tines." * 9):
        queue.put(sent)
        queue.put_many([sent, bytearray(sent)])
        assert [queue.get(timeout=30) for _ in range(3)] == [sent, sent, sent]


def test_a_result_that_belongs_to_the_node_is_refused_by_name(context: Any) -> None:
    process = context.Process(target=make_queue, returns=True)
    process.start()
    with pytest.raises(EncodeError, match="a Queue cannot be sent"):
        process.result(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_starts_nothing_on_the_nodes_of_its_parent(context: Any) -> None:
    context.nodes()
    child = tines.get_context("fork").Process(target=start_another, args=(context,), returns=True)
    child.start()
    assert "make another context" in child.result(30)


def test_a_context_that_is_garbage_ends_its_nodes_whatever_thread_finds_it() -> None:
    context: Any = tines.get_context(engine="simulated:2")
    pids = [each.pid for each in context.nodes()]
    hub = context._cluster._engine._hub
    gc.disable()
    try:
        del context
        hub.post(gc.collect)  # in the thread that ending waits for
        wait_for(lambda: not [pid for pid in pids if lives(pid)])
    finally:
        gc.enable()


def test_what_a_node_that_stands_still_did_not_take_goes_back_and_it_puts_nothing_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(silence, "BEAT_SECONDS", 0.3 * SLOWNESS)
    context: Any = tines.get_context(engine="simulated:1")
    with context:
        given, taken = context.Queue(), context.Queue()
        process = context.Process(target=take, args=(given, taken), returns=True)
        process.start()
        assert taken.get(timeout=30) == "ready"
        wait_for(lambda: given.statistics().waiting_receivers)
        (node,) = context.nodes()
        frozen = [guard(node.pid), node.pid, process.pid]
        try:
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            given.put("first")  # is handed to who waits, and not taken
            assert given.qsize() == 0
            assert given.get(timeout=30) == "first"
            with pytest.raises(NodeLostError):
                process.result(30)
        finally:
            for pid in (process.pid, node.pid):
                os.kill(pid, signal.SIGCONT)
        wait_for(lambda: not lives(process.pid))
        os.kill(frozen[0], signal.SIGCONT)
        assert taken.empty()


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda _: tines.Lock(), "Lock"),
        (lambda _: tines.Queue(), "Queue"),
        (lambda context: context.Value("i", 0), "Value"),
        (lambda context: context.Array("i", 3), "Array"),
        (lambda _: shared_memory.SharedMemory(create=True, size=16), "SharedMemory"),
        (lambda context: context.Pipe()[0], "Connection"),
    ],
)
def test_what_belongs_to_one_machine_is_refused_by_name(
    context: Any, made: Callable[[Any], Any], named: str
) -> None:
    thing = made(context)
    queue = context.Queue()
    words = f"an? {named} cannot be sent.*Instead"
    if named in ("Lock", "Value", "Array") and transport.choice().name == "pipe":
        words = "only be shared between processes through inheritance"  # nor can they here
    try:
        process = context.Process(target=twice, args=(thing,))
        with pytest.raises(EncodeError, match=words):
            process.start()
        assert process.pid is None
        for put in (queue.put, lambda thing: queue.put_many([1, thing])):
            with pytest.raises(EncodeError, match=words):
                put(thing)
        assert queue.empty()
    finally:
        if isinstance(thing, shared_memory.SharedMemory):
            thing.close()
            thing.unlink()


def test_pools_and_managers_of_a_context_are_reached_by_its_nodes(context: Any) -> None:
    queue = context.Queue()
    with context.Pool(2, keep, (queue,)) as pool:
        pool.map(put_kept, range(4))
        assert {each.name for each in pool.nodes()} == {"simulated-0", "simulated-1"}
        assert sorted(queue.get(timeout=30) for _ in range(4)) == [0, 1, 2, 3]
    with context.Manager() as manager:
        shared = manager.dict()
        process = context.Process(target=shared.update, args=({1: 2},))
        process.start()
        process.join()
        assert (process.exitcode, dict(shared)) == (0, {1: 2})


def test_what_is_no_engine_for_processes_is_refused() -> None:
    for wrong, error in (("nowhere", ValueError), ("simulated:0", ValueError), (3, TypeError)):
        with pytest.raises(error, match="engine="):
            tines.get_context(engine=wrong)
    assert tines.get_context("spawn", engine="local") is tines.get_context("spawn")
    nodes = tines.get_context("spawn", engine="simulated:1")
    assert nodes.get_start_method() == "spawn"
    assert nodes.get_context() is nodes
    assert nodes.get_context("spawn") is tines.get_context("spawn")


PROGRAM = """
import sys, time
import tines

def wait(queue, text):
    queue.get()
    time.sleep(0.3)
    print(text, flush=True)

if __name__ == "__main__":
    context = tines.get_context(engine="simulated:2")
    queue = context.Queue()
    for text in ("daemonic", "waited"):
        process = context.Process(target=wait, args=(queue, text), daemon=text == "daemonic")
        process.start()
    print(*[pid for node in context.nodes() for pid in (node.pid, *node.workers)], flush=True)
    if len(sys.argv) == 1:
        time.sleep(600)
    queue.put(None)
    queue.put(None)
"""


def test_nothing_is_left_of_a_program_that_is_killed(tmp_path: Path) -> None:
    kill_a_program_with_nodes(PROGRAM, tmp_path)


def test_a_program_ends_as_it_would_on_one_machine(tmp_path: Path) -> None:
    """It waits for its processes, but for the daemonic ones, which end with it."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), "end"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *printed, said = done.stdout.split()
    pids = [int(pid) for pid in printed]
    assert (len(pids), said) == (4, "waited")
    wait_for(lambda: not [pid for pid in pids if lives(pid)])
