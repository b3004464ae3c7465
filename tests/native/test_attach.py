"""Who may share the memory of a program: nobody to whom it, or its processes, would mean something else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

import tines

_native = pytest.importorskip("tines._native")

ATTACH = (
    "import sys; from tines import _native; _native.attach_segment(int(sys.argv[1])); print('in')"
)


@pytest.fixture
def segment():
    return _native.create_segment(1 << 32)


def attach(segment, *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-c", ATTACH, str(segment.fd)],
        pass_fds=[segment.fd],
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_another_pid_namespace_is_refused(segment):
    """A pid means nothing there: the living would be taken for dead, and two would hold one lock."""
    apart = ["unshare", "--pid", "--fork"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], timeout=20).returncode:
        pytest.skip("there can be no pid namespaces here")
    assert attach(segment).stdout == "in\n"
    refused = attach(segment, *apart)
    assert refused.returncode == 1
    assert "TransportError" in refused.stderr
    assert "pid namespace" in refused.stderr


def test_another_layout_is_refused(segment):
    with open(os.dup(segment.fd), "r+b", buffering=0) as file:
        name = os.pread(file.fileno(), 8, 0)
        assert name.startswith(b"TINES")
        os.pwrite(file.fileno(), b"000", 5)
        with pytest.raises(tines.TransportError, match="another version"):
            _native.attach_segment(file.fileno())
        os.pwrite(file.fileno(), b"OTHER", 0)
        with pytest.raises(tines.TransportError, match="cannot be right"):
            _native.attach_segment(file.fileno())
        os.pwrite(file.fileno(), name, 0)
        assert _native.attach_segment(os.dup(file.fileno())).id == segment.id
