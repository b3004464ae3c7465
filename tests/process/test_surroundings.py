"""What a child is born with: environment, directory, path and umask are its parent's of now.

Under each start method as in the standard library; only its fork server's children have the
environment of the first start, and keep what the program has removed since then.
"""

from __future__ import annotations

import os
import sys
import time

import pytest

import tines as mp

VARIABLES = ("TINES_TEST_KEPT", "TINES_TEST_CHANGED", "TINES_TEST_REMOVED", "TINES_TEST_NEW")


def surroundings():
    mask = os.umask(0)
    os.umask(mask)
    environment = {name: os.environ.get(name) for name in VARIABLES}
    return environment, os.getcwd(), sys.path[0], mask


def grandchild(method):
    """As a child of this process has them, which has changed them as well."""
    os.environ["TINES_TEST_NEW"] = "newer"
    del os.environ["TINES_TEST_CHANGED"]
    return result_of(mp.get_context(method), surroundings)


def result_of(ctx, target, *args):
    process = ctx.Process(target=target, args=args, returns=True)
    process.start()
    try:
        return process.result(60)
    finally:
        process.close()


@pytest.fixture
def changed(ctx, server, monkeypatch, tmp_path):
    """A program that has started children, and has changed its surroundings since."""
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, "old")
    for _ in range(2):  # from the second one on, spare interpreters wait
        result_of(ctx, surroundings)
    monkeypatch.setenv("TINES_TEST_CHANGED", "new")
    monkeypatch.setenv("TINES_TEST_NEW", "new")
    monkeypatch.delenv("TINES_TEST_REMOVED")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "first"))
    before = os.umask(0o31)
    yield before
    os.umask(before)


def test_a_child_has_what_its_parent_has_now(ctx, changed):
    environment, directory, path, mask = result_of(ctx, surroundings)
    assert environment == dict(zip(VARIABLES, ("old", "new", None, "new"), strict=True))
    assert directory == os.getcwd()
    assert path == sys.path[0]
    # The standard library's fork server hands on its own.
    assert mask == (changed if ctx.get_start_method() == "forkserver" else 0o31)


@pytest.mark.parametrize("inner", mp.get_all_start_methods())
def test_so_has_a_grandchild(ctx, changed, inner):
    environment, *_ = result_of(ctx, grandchild, inner)
    assert environment == dict(zip(VARIABLES, ("old", None, None, "newer"), strict=True))


def test_what_is_set_for_one_child_goes_first(ctx, changed):
    process = ctx.Process(target=surroundings, returns=True)
    process.environment = {"TINES_TEST_NEW": "its own", "TINES_TEST_REMOVED": "again"}
    process.start()
    environment, *_ = process.result(60)
    process.close()
    assert environment == dict(zip(VARIABLES, ("old", "new", "again", "its own"), strict=True))


def zone():
    return time.localtime(0).tm_gmtoff


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone cannot be set here")
def test_a_changed_time_zone_counts(ctx, server, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        assert result_of(ctx, zone) == 0
        monkeypatch.setenv("TZ", "XYZ-5")
        time.tzset()
        assert result_of(ctx, zone) == 5 * 3600
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_a_preloaded_module_has_set_stays(server, tmp_path, monkeypatch):
    """As where the child had imported it."""
    from tines.process.start import forkserver_client

    (tmp_path / "sets_a_variable.py").write_text("import os; os.environ['TINES_TEST_NEW'] = 'set'")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("TINES_TEST_NEW", raising=False)
    forkserver_client.set_preload(["sets_a_variable"], "warn")
    ctx = mp.get_context("forkserver")
    assert result_of(ctx, surroundings)[0]["TINES_TEST_NEW"] == "set"
    monkeypatch.setenv("TINES_TEST_KEPT", "by the parent")
    assert result_of(ctx, surroundings)[0]["TINES_TEST_NEW"] == "set"
    monkeypatch.setenv("TINES_TEST_NEW", "by the parent")
    assert result_of(ctx, surroundings)[0]["TINES_TEST_NEW"] == "by the parent"
