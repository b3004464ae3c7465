"""Spools: bounded, readable whatever happened to the writer, and right in their sums."""

from __future__ import annotations

import itertools
import os
import threading

import pytest

from tines.tracing import spool as spools
from tines.tracing.records import Kind, meta
from tines.tracing.spool import SMALLEST, Role, Spool, SpoolReader


@pytest.fixture
def made(tmp_path):
    spool = Spool(tmp_path / "1.spool", SMALLEST, name="a process", role=Role.PROCESS)
    yield spool, tmp_path / "1.spool"
    spool.close()


def submit(spool, tag, begin=10, sending=11, end=13):
    spool.write(tag, begin, sending, meta(Kind.SUBMIT, items=2), 0, 100, 0, end)


def records(path):
    reader = SpoolReader(path)
    try:
        return reader, [record for _, record in reader.records()]
    finally:
        reader.close()


def test_what_is_written_is_read(made):
    spool, path = made
    for tag in range(5):
        submit(spool, tag)
    reader, found = records(path)
    assert [record[0] for record in found] == [0, 1, 2, 3, 4]
    assert reader.name == "a process" and reader.pid == os.getpid()
    assert reader.role is Role.PROCESS and reader.torn == 0
    assert reader.dropped.records == 0


@pytest.mark.slow
def test_a_million_records_stay_within_the_bound(made):
    spool, path = made
    total = 1_000_000
    for tag in range(total):
        submit(spool, tag)
    reader, found = records(path)
    assert path.stat().st_size <= SMALLEST
    assert [record[0] for record in found] == list(range(total - len(found), total))
    assert reader.dropped.records == total - len(found)
    # Sums know of those that were dropped.
    assert reader.dropped.submits == total - len(found)
    assert reader.dropped.pickling == total - len(found)
    assert reader.dropped.sending == 2 * (total - len(found))
    assert reader.dropped.sent_bytes == 100 * (total - len(found))


def test_a_record_that_was_not_finished_is_torn(made):
    spool, path = made
    submit(spool, 1)
    place = spool.place(spool.take())
    for word, value in enumerate([7, 10, 11, meta(Kind.SUBMIT)]):
        spool.words[place // 8 + word] = value
    submit(spool, 2)
    reader, found = records(path)
    assert [record[0] for record in found] == [1, 2]
    assert reader.torn == 1


def test_a_task_that_was_running_is_no_torn_record(made):
    spool, path = made
    place = spool.place(spool.take())
    for word, value in enumerate([7, 10, 11, meta(Kind.TASK), 12]):
        spool.words[place // 8 + word] = value
    reader, found = records(path)
    assert [tuple(record) for record in found] == [(7, 10, 11, meta(Kind.TASK), 12, 0, 0, 0)]
    assert reader.torn == 0


def test_threads_share_a_spool(made):
    spool, path = made
    numbers = itertools.count()
    threads = [
        threading.Thread(target=lambda: [submit(spool, next(numbers)) for _ in range(10_000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader, found = records(path)
    assert reader.dropped.submits + len(found) + reader.torn == 40_000
    assert len({record[0] for record in found}) == len(found)


def test_a_full_disk_makes_it_smaller(made, monkeypatch):
    spool, path = made

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spools, "_reserve", refuse)
    for tag in range(1000):
        submit(spool, tag)
    reader, found = records(path)
    assert [record[0] for record in found] == list(range(1000 - len(found), 1000))
    assert reader.dropped.submits + len(found) == 1000


def test_no_room_at_all_is_an_error_at_once(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spools, "_reserve", refuse)
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    with pytest.raises(OSError, match="No space left"):
        Spool(tmp_path / "1.spool", SMALLEST, name="", role=Role.MAIN)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_names_are_stored_once_and_run_out_quietly(made):
    spool, path = made
    first = spool.name("module.function")
    assert spool.name("module.function") == first
    for number in range(1000):
        spool.name("x" * 150 + str(number))
    assert spool.name("one more that has no room") == 0
    reader, _ = records(path)
    assert reader.texts[first] == "module.function"
    assert len(reader.texts) < 1000


def test_what_is_no_spool_is_refused(tmp_path):
    path = tmp_path / "2.spool"
    path.write_bytes(b"something else" * 10_000)
    with pytest.raises(ValueError, match="no spool"):
        SpoolReader(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="no spool"):
        SpoolReader(path)
