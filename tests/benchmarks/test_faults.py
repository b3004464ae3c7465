"""Every fault that is planted in a peer must show in its runs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from benchmarks.model import Run, Status
from benchmarks.plan import Case

from benchmarks import load, runner, subjects

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the queue subjects fork"),
    pytest.mark.watchdog(60),
]


def run(subject: str, variant: str, peer: str, limit: float = 30.0, **params: object) -> Run:
    found = next(item for item in subjects.find(subject).variants if item.name == variant)
    merged = {**found.params, "seconds": 0.05, **params}
    case = Case(subject, found, f"faulty_peers:{peer}", merged)
    return runner.run_case(case, 0, limit)


@pytest.mark.parametrize("variant", ["1-1", "4-4", "batches"])
def test_a_sound_queue_passes(variant: str) -> None:
    result = run("queue_small", variant, "sound")
    assert result.status is Status.OK, result.detail
    assert result.metrics["rate"] > 0
    assert result.left_behind == 0


@pytest.mark.parametrize("variant", ["1-1", "4-4", "batches"])
@pytest.mark.parametrize("peer", ["lossy", "doubling", "swapping"])
def test_one_wrong_message_among_thousands_fails_the_case(peer: str, variant: str) -> None:
    result = run("queue_small", variant, peer)
    assert result.status is Status.WRONG, result
    assert result.metrics == {}


def test_one_wrong_byte_in_a_large_message_fails_the_case() -> None:
    assert run("queue_bulk", "bytes 1 MB", "sound").status is Status.OK
    result = run("queue_bulk", "bytes 1 MB", "torn")
    assert result.status is Status.WRONG, result


def test_a_change_of_the_senders_own_array_fails_the_case() -> None:
    pytest.importorskip("numpy")
    assert run("queue_bulk", "numpy 1 MB written", "sound").status is Status.OK
    result = run("queue_bulk", "numpy 1 MB written", "aliasing")
    assert result.status is Status.WRONG, result


@pytest.mark.slow
def test_slow_messages_show_in_the_rate() -> None:
    sound, slow = (run("queue_small", "1-1", peer) for peer in ("sound", "slow"))
    assert slow.status is Status.OK
    assert slow.metrics["rate"] < sound.metrics["rate"] / 2


@pytest.mark.slow
def test_a_hang_is_reported_as_such_and_ended() -> None:
    before = load.children()
    result = run("queue_small", "1-1", "hanging", limit=3.0)
    assert result.status is Status.HANG
    assert "no result within 3 s" in result.detail
    assert load.children() <= before


@pytest.mark.slow
def test_a_case_that_never_exits_is_told_from_one_without_a_result() -> None:
    result = run("pool", "apply 2", "never_exits", limit=10.0)
    assert result.status is Status.HANG
    assert "did not exit" in result.detail


def test_a_dying_worker_fails_the_case_at_once() -> None:
    result = run("queue_small", "1-1", "dying")
    assert result.status is Status.ERROR
    assert "exit code 9" in result.detail
    assert result.seconds < 20


def test_a_dying_case_is_a_crash() -> None:
    assert run("pool", "apply 2", "parent_dies").status is Status.CRASH


def test_a_missing_result_of_a_pool_fails_the_case() -> None:
    result = run("pool", "map 2", "forgetful", tasks=2000)
    assert result.status is Status.WRONG, result


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_is_left_behind_is_found_and_ended() -> None:
    result = run("pool", "apply 2", "orphaning")
    assert result.status is Status.OK
    assert result.left_behind == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_a_queue_keeps_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is freed goes back to the system at once, whatever the heap looks like.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    burst = {"count": 32, "size": 2**20}
    sound, leaking = (run("memory", "burst", peer, **burst) for peer in ("sound", "leaking"))
    assert sound.status is leaking.status is Status.OK
    assert leaking.metrics["held"] > 31
    assert sound.metrics["held"] < 31


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_other_load_is_noticed() -> None:
    spin = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
    # Not waited for until the end: that is what makes it somebody else's.
    other = subprocess.Popen([sys.executable, "-c", spin])
    try:
        result = run("latency", "idle", "sound", seconds=1.0)
    finally:
        other.kill()
        other.wait()
    assert result.other_load is not None
    assert result.other_load > 0.3


def test_a_peer_that_is_not_installed_is_left_out_with_the_reason() -> None:
    usable, reason = runner.probe("faulty_peers:missing")
    assert not usable
    assert "a_library_that_nobody_wrote" in reason


@pytest.mark.slow
@pytest.mark.parametrize(("named", "wanted"), [(True, 2), (False, 1)])
def test_a_case_that_keeps_hanging_is_given_up(named: bool, wanted: int) -> None:
    from benchmarks.plan import Plan

    name = "faulty_peers:hanging"
    subject = subjects.find("queue_small")
    only = replace(subject.variants[0], limits=(), params={**subject.variants[0].params})
    subject = replace(subject, variants=(only,))
    plan = Plan((subject,), (name,), "*", 4, False, named=frozenset({name} if named else ()))
    runs = list(runner.run_plan(plan, limit=1.5))
    assert [item.status for item in runs] == [Status.HANG] * wanted
