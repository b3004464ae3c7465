"""What is read from the environment and the system."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tines import _config

V2 = "/sys/fs/cgroup/cpu.max"
V1 = "/sys/fs/cgroup/cpu"
ROOT = "/sys/fs/cgroup"
CGROUP = "/proc/self/cgroup"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "AUTO"),
        ("", "AUTO"),
        ("auto", "AUTO"),
        ("require", "REQUIRE"),
        ("off", "OFF"),
        ("OFF", "OFF"),
        ("Require", "REQUIRE"),
        (" auto ", "AUTO"),
    ],
)
def test_native(monkeypatch, value, expected):
    monkeypatch.delenv("TINES_NATIVE", raising=False)
    if value is not None:
        monkeypatch.setenv("TINES_NATIVE", value)
    assert _config.native() is _config.Native[expected]


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("yes", "'require', 'auto' or 'off'"),
        ("requird", "'require', 'auto' or 'off'"),
        ("0ff", "'off', 'auto' or 'require'"),
        ("Automatic", "'auto', 'require' or 'off'"),
    ],
)
def test_a_wrong_value_names_the_right_ones_and_the_nearest_first(monkeypatch, given, allowed):
    monkeypatch.setenv("TINES_NATIVE", given)
    with pytest.raises(ValueError, match="environment variable") as caught:
        _config.native()
    assert f"TINES_NATIVE={given!r}" in str(caught.value) and allowed in str(caught.value)


@pytest.mark.parametrize("make", ["Queue()", "Pool(1)", "JoinableQueue()"])
def test_a_wrong_value_is_told_where_it_matters_not_in_an_import(make):
    program = f"import tines\nfrom tines import aio, pool\ntines.{make}\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TINES_NATIVE": "0ff", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 1 and done.stderr.count("Traceback") == 1
    assert done.stderr.splitlines()[-1].startswith(
        "ValueError: the environment variable TINES_NATIVE"
    )
    assert "importlib" not in done.stderr and "<module>" in done.stderr


def test_insight(monkeypatch):
    monkeypatch.delenv("TINES_INSIGHT", raising=False)
    assert _config.insight() is _config.Insight.ON
    for given, expected in (("", "ON"), ("on", "ON"), ("off", "OFF"), ("Off", "OFF")):
        monkeypatch.setenv("TINES_INSIGHT", given)
        assert _config.insight() is _config.Insight[expected]
    monkeypatch.setenv("TINES_INSIGHT", "no")
    with pytest.raises(ValueError, match=r"TINES_INSIGHT='no'.*'on' or 'off'"):
        _config.insight()


def test_spares(monkeypatch):
    monkeypatch.delenv("TINES_SPARES", raising=False)
    assert _config.spares() is _config.Spares.ON
    for given, expected in (("", "ON"), ("1", "ON"), ("0", "OFF"), (" 0", "OFF")):
        monkeypatch.setenv("TINES_SPARES", given)
        assert _config.spares() is _config.Spares[expected]
    monkeypatch.setenv("TINES_SPARES", "no")
    with pytest.raises(ValueError, match=r"TINES_SPARES='no'.*'[01]' or '[01]'"):
        _config.spares()


def test_tensors(monkeypatch):
    monkeypatch.delenv("TINES_TENSORS", raising=False)
    assert _config.tensors() is _config.Tensors.ON
    for given, expected in (("", "ON"), ("on", "ON"), ("off", "OFF"), ("OFF", "OFF")):
        monkeypatch.setenv("TINES_TENSORS", given)
        assert _config.tensors() is _config.Tensors[expected]
    monkeypatch.setenv("TINES_TENSORS", "torch")
    with pytest.raises(ValueError, match=r"TINES_TENSORS='torch'.*'on' or 'off'|'off' or 'on'"):
        _config.tensors()


@pytest.fixture
def machine(monkeypatch):
    """A machine with these cores and these files."""

    def make(cores, files):
        def read(path):
            if path in files:
                return files[path]
            raise FileNotFoundError(path)

        monkeypatch.setattr(_config, "_read", read)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)

    return make


@pytest.mark.parametrize(
    ("cores", "files", "expected"),
    [
        (8, {}, 8),
        (8, {V2: "max 100000\n"}, 8),
        (8, {V2: "150000 100000\n"}, 2),
        (8, {V2: "200000 100000\n"}, 2),
        (8, {V2: "10000 100000\n"}, 1),
        (2, {V2: "400000 100000\n"}, 2),
        (8, {f"{V1}/cpu.cfs_quota_us": "-1", f"{V1}/cpu.cfs_period_us": "100000"}, 8),
        (8, {f"{V1}/cpu.cfs_quota_us": "300000", f"{V1}/cpu.cfs_period_us": "100000"}, 3),
        (8, {V2: "nonsense"}, 8),
        # In a group of its own, as systemd makes them; the least of all levels counts.
        (
            8,
            {
                CGROUP: "0::/a.slice/b.service\n",
                f"{ROOT}/a.slice/b.service/cpu.max": "300000 100000",
            },
            3,
        ),
        (8, {CGROUP: "0::/a.slice/b.service\n", f"{ROOT}/a.slice/cpu.max": "300000 100000"}, 3),
        (
            8,
            {
                CGROUP: "0::/a/b\n",
                f"{ROOT}/a/b/cpu.max": "max 100000",
                f"{ROOT}/a/cpu.max": "100000 50000",
                V2: "300000 100000",
            },
            2,
        ),
        (
            8,
            {
                CGROUP: "5:cpuset:/x\n4:cpu,cpuacct:/a\n0::/\n",
                f"{V1}/a/cpu.cfs_quota_us": "300000",
                f"{V1}/a/cpu.cfs_period_us": "100000",
                f"{V1}/x/cpu.cfs_quota_us": "100000",
                f"{V1}/x/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        # A container sees none of the groups above its own, and that at the base.
        (8, {CGROUP: "0::/outside/of/here\n", V2: "200000 100000"}, 2),
    ],
)
def test_cores(machine, cores, files, expected):
    machine(cores, files)
    assert _config.available_cpus() == expected


def test_without_affinity_the_machines_cores_count(monkeypatch, machine):
    machine(8, {})
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert _config.available_cpus() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert _config.available_cpus() == 1


def test_on_this_machine():
    assert 1 <= _config.available_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({f"{ROOT}/memory.max": "max\n"}, None),
        ({f"{ROOT}/memory.max": "1000\n"}, 1000),
        ({f"{ROOT}/memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({f"{ROOT}/memory/memory.limit_in_bytes": "1000"}, 1000),
        (
            {CGROUP: "0::/a/b", f"{ROOT}/a/b/memory.max": "max", f"{ROOT}/a/memory.max": "1000"},
            1000,
        ),
        ({CGROUP: "9:memory:/a", f"{ROOT}/memory/a/memory.limit_in_bytes": "1000"}, 1000),
        ({CGROUP: "9:memory:/a", f"{ROOT}/a/memory.limit_in_bytes": "1000"}, None),
    ],
)
def test_memory(machine, files, expected):
    machine(1, files)
    assert _config.memory_limit() == expected
    if expected is not None:
        assert _config.available_memory() == expected
