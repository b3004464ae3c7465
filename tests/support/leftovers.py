"""What a test session must not leave behind: processes, shared memory, temporary files.

The session gets a temporary directory of its own, so whatever lies in it at the end was left by a
test. (pytest's ``tmp_path`` stays where it always is.) The directory also marks our processes,
however deep or orphaned: what was forked from here holds it open, what was executed since then has
it in its environment. A session that leaves anything fails, and the report names the test after
which each thing was first seen.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from typing import Any

import psutil
import pytest

__all__ = [
    "pytest_configure",
    "pytest_runtest_logfinish",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_unconfigure",
]

SETTLE = 20.0
"""Seconds that a process of the last test has to finish."""

SETTLE_FILES = 20.0
"""Seconds for what a killed program of another session has left, until its resource tracker ends."""

SHARED_MEMORY = Path("/dev/shm")
# What the standard library and tines name theirs; the machine may be busy with other things.
SHARED_MEMORY_PREFIXES = ("psm_", "sem.mp-", "pym-", "tines")


@dataclass
class _Session:
    directory: Path
    descriptor: int
    outer_environment: dict[str, str | None]
    shared_memory_before: frozenset[str]
    first_seen: dict[str, str] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)


_session: _Session | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Move temporary files of tests, and of their children, into a directory of our own."""
    global _session
    outer = tempfile.gettempdir()
    directory = Path(tempfile.mkdtemp(prefix="tines-tests-"))
    wanted = {"TMPDIR": str(directory)}
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        wanted["PYTEST_DEBUG_TEMPROOT"] = outer
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    tempfile.tempdir = str(directory)
    # Windows cannot open directories; there only children that multiprocessing knows are seen.
    descriptor = -1 if sys.platform == "win32" else os.open(directory, os.O_RDONLY)
    _session = _Session(directory, descriptor, before, _shared_memory())


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Note after which test a file or segment was first seen."""
    if _session is not None:
        for name in _leftover_files(_session):
            _session.first_seen.setdefault(name, nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look for leftovers; there must be none."""
    if _session is None:
        return
    _report_survivors(_session)
    _finish_standard_library()
    _sweep_entries()
    for name in _left_files(_session):
        test = _session.first_seen.get(name, "after the last test")
        _session.report.append(f"{name}: first seen after {test}")
    if _session.report and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was left behind."""
    if _session is not None and _session.report:
        terminalreporter.section("left behind by this session", red=True, bold=True)
        for line in _session.report:
            terminalreporter.line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Put the environment back, and take the directory away."""
    global _session
    if _session is None:
        return
    for name, value in _session.outer_environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tempfile.tempdir = None
    if _session.descriptor >= 0:
        os.close(_session.descriptor)
    shutil.rmtree(_session.directory, ignore_errors=True)
    _session = None


def _shared_memory() -> frozenset[str]:
    with contextlib.suppress(OSError):
        return frozenset(
            str(entry)
            for entry in SHARED_MEMORY.iterdir()
            if entry.name.startswith(SHARED_MEMORY_PREFIXES)
        )
    return frozenset()


def _in_use() -> frozenset[str]:
    """Shared memory that somebody maps: not left behind, and none of ours, as all of ours ended."""
    mapped: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            mapped.update(re.findall(r" (/dev/shm/\S+)$", maps.read_text(), re.MULTILINE))
    return frozenset(mapped)


def _leftover_files(session: _Session) -> frozenset[str]:
    files = frozenset(map(str, session.directory.iterdir()))
    return files | (_shared_memory() - session.shared_memory_before)


def _left_files(session: _Session) -> list[str]:
    """What nobody uses, and stays: another session beside this one makes and removes its own."""
    left = _leftover_files(session) - _in_use()
    until = time.monotonic() + SETTLE_FILES
    while left and time.monotonic() < until:
        time.sleep(0.1)
        left = left & _leftover_files(session)
    return sorted(left)


def _daemons() -> Iterator[tuple[Any, int | None]]:
    """The two processes that by the standard library's design live as long as this one."""
    if sys.platform != "win32":
        yield forkserver._forkserver, forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        yield resource_tracker._resource_tracker, resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]


def _finish_standard_library() -> None:
    """Do now what the standard library does at exit, so that its temporary files are gone.

    Only once nobody else is left: its daemons end when the last process that knows them has. The
    standard library's own tests call these names for the same purpose.
    """
    for daemon, pid in _daemons():
        if pid is not None:
            with contextlib.suppress(ChildProcessError, FileNotFoundError):
                daemon._stop()
    util._run_finalizers()  # type: ignore[attr-defined]


def _sweep_entries() -> None:
    """Remove what killed programs showed to ``tines top``, as the next reader would."""
    if sys.platform != "win32":
        from tines.insight import places

        with contextlib.suppress(OSError):
            base = places.open_directory(places.directory())
            places.sweep(base)
            os.close(base)
            places.remove_if_empty(places.directory())


def _report_survivors(session: _Session) -> None:
    """Report, and kill, what is still there a while after the last test."""
    multiprocessing.active_children()  # reaps those that have ended
    stopping = threading.Thread(target=_stop_helpers, daemon=True)
    stopping.start()
    _, alive = psutil.wait_procs(list(_our_processes(session)), timeout=SETTLE)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline()) or process.name()
            session.report.append(f"process {process.pid} ({process.status()}): {command}")
            process.kill()
            process.wait(SETTLE)
    stopping.join(SETTLE)


def _stop_helpers() -> None:
    """End the processes that tines keeps for as long as this one lives.

    The fork server ends when nobody is left who could ask it, and ``stop`` waits for that: so this
    runs in a thread, beside the search for those who hold it up.
    """
    for name in ("tines.process.start.spares", "tines.process.start.forkserver_client"):
        module = sys.modules.get(name)
        if module is not None:
            module.stop()


def _our_processes(session: _Session) -> Iterator[psutil.Process]:
    known = {child.pid for child in psutil.Process().children(recursive=True)}
    exempt = {os.getpid(), *(pid for _, pid in _daemons())}
    for process in psutil.process_iter():
        if process.pid not in exempt and (
            process.pid in known or _is_marked(process, str(session.directory))
        ):
            yield process


def _is_marked(process: psutil.Process, directory: str) -> bool:
    """Whether a process descends from this session, by what it holds open or was started with."""
    try:
        if process.environ().get("TMPDIR") == directory:
            return True
        base = Path(f"/proc/{process.pid}/fd")
        return any(os.readlink(entry) == directory for entry in base.iterdir())
    except (psutil.Error, OSError):
        return False
