"""Who goes on when the parent is gone, and who does not: as in the standard library, or better.

A process that is not daemonic goes on, and what it shares with its parent answers: it works, or is an
error. Daemonic processes and workers of pools are asked to end, and killed if they do not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

import tines as mp
from families import HEIRS, Family
from support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the survivors in /proc")

METHODS = mp.get_all_start_methods()


@pytest.fixture(params=["auto", "off"])
def native(request):
    if request.param == "auto":
        pytest.importorskip("tines._native")
    return request.param


@contextlib.contextmanager
def family(method, case, path, native="auto", **options):
    """Run the program until its children are ready."""
    options = {"bound": None, "environment": {"TINES_NATIVE": native}, **options}
    with Family(method, case, str(path / "report"), program=HEIRS, **options) as running:
        running.wait_until_ready()
        yield running


def leave(running, how="_exit"):
    """Have the program go."""
    if how == "_exit":
        running.process.stdin.close()
    else:
        running.process.send_signal(how)
    running.process.wait(PATIENCE)


def reported(path, name):
    file = Path(f"{path / 'report'}.{name}")
    wait_for(file.exists)
    return file.read_text()


@pytest.mark.parametrize("how", ["_exit", signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("method", METHODS)
def test_a_process_outlives_its_parent(method, how, tmp_path):
    with family(method, "go_on", tmp_path) as running:
        leave(running, how)
        assert reported(tmp_path, "orphan") == "went on"
        assert running.survivors(PATIENCE) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_loop_on_the_parents_life_cleans_up(method, tmp_path):
    with family(method, "clean_up", tmp_path) as running:
        leave(running, signal.SIGKILL)
        assert reported(tmp_path, "orphan") == "cleaned up"
        assert running.survivors(PATIENCE) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_process_stays_until_it_ends(method, tmp_path):
    with family(method, "sleep", tmp_path) as running:
        leave(running)
        (child,) = running.children
        wait_for(lambda: Path(f"/proc/{child}/stat").read_text().split()[3] != running.process.pid)
        assert child in running.alive()
        os.kill(child, signal.SIGTERM)
        assert running.survivors(PATIENCE) == []


@pytest.mark.parametrize("case", ["keyword", "class"])
@pytest.mark.parametrize("method", METHODS)
def test_a_process_that_is_to_end_with_its_parent(method, case, tmp_path):
    with family(method, case, tmp_path) as running:
        leave(running)
        assert running.survivors(PATIENCE) == []


@pytest.mark.parametrize(("variable", "survives"), [(True, False), (False, True)])
def test_a_variable_has_the_last_word_where_nothing_is_said(variable, survives, tmp_path):
    with family("fork", "sleep", tmp_path, bound=variable) as running:
        leave(running)
        assert running.survivors(1 if survives else PATIENCE) == running.children * survives


def test_a_wrong_value_of_the_variable_is_told_at_the_start(monkeypatch):
    monkeypatch.setenv("TINES_DIES_WITH_PARENT", "maybe")
    with pytest.raises(ValueError, match="TINES_DIES_WITH_PARENT='maybe'"):
        mp.Process(target=int).start()
    process = mp.Process(target=int, dies_with_parent=True)  # then it is not asked
    process.start()
    process.join()


@pytest.mark.parametrize("method", METHODS)
def test_a_daemonic_process_is_asked_to_end(method, native, tmp_path):
    with family(method, "handle", tmp_path, native) as running:
        leave(running)
        assert reported(tmp_path, "handler") == "asked to end"
        assert running.survivors(PATIENCE) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_daemonic_process_that_does_not_listen_is_killed(method, native, tmp_path):
    with family(method, "ignore", tmp_path, native) as running:
        leave(running)
        assert running.survivors(PATIENCE) == []


def test_a_daemonic_process_that_is_meant_to_stay(tmp_path):
    with family("fork", "stays", tmp_path) as running:
        leave(running)
        assert reported(tmp_path, "orphan") == "went on"


@pytest.mark.parametrize("case", ["pool", "executor"])
@pytest.mark.parametrize("method", METHODS)
def test_workers_end_with_their_parent(method, case, native, tmp_path):
    with family(method, case, tmp_path, native) as running:
        leave(running)
        assert running.survivors(PATIENCE) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_queue_whose_maker_is_gone(method, native, tmp_path):
    """On the ring it goes on; on the pipe whoever uses it is told, at once."""
    with family(method, "queue", tmp_path, native) as running:
        leave(running)
        if native == "off":
            owner = (
                f"TransportError: the process that owns this channel (pid {running.process.pid})"
            )
            assert reported(tmp_path, "taker").startswith(owner)
            assert reported(tmp_path, "giver").startswith(owner)
        else:
            assert reported(tmp_path, "giver") == "gave"
            assert reported(tmp_path, "taker") == "took what was given"
        assert running.survivors(PATIENCE) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_full_queue_whose_maker_is_gone(method, native, tmp_path):
    with family(method, "full", tmp_path, native) as running:
        leave(running)
        expected = "TransportError" if native == "off" else "Full"
        assert reported(tmp_path, "filler").startswith(expected)
        assert running.survivors(PATIENCE) == []


@pytest.mark.parametrize("method", METHODS)
def test_log_records_that_nobody_handles_any_more_are_written(method, native, tmp_path):
    with family(method, "log", tmp_path, native) as running:
        leave(running)
        assert reported(tmp_path, "logger") == "went on"
        assert running.survivors(PATIENCE) == []
        written = [f"nobody reads number {number}" for number in range(100)]
        assert running.process.stderr.read().splitlines() == written
