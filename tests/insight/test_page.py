"""Pages: whole or refused, whoever wrote them."""

from __future__ import annotations

import json
import os
import struct
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tines.insight import model, page
from tines.insight.page import Unreadable
from tines.insight.values import plain

GOOD = {
    "pid": 10,
    "started": 1,
    "parent": 2,
    "since": 3.5,
    "name": "python job.py",
    "process": "MainProcess",
    "python": "3.11.7",
    "version": "0.1.0",
    "taken": 4,
    "spent": 0.0,
    "things": [{"number": 1, "kind": "Pool", "statistics": {"done": 3, "workers": []}}],
}


def payload(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def test_what_is_packed_is_unpacked():
    assert page.unpack(page.pack(7, b"text") + b"what was there before") == (7, b"text")


@pytest.mark.parametrize("place", range(28))
def test_any_changed_byte_is_seen(place):
    record = bytearray(page.pack(7, b"text"))
    record[place] ^= 0x10
    with pytest.raises(Unreadable):
        page.unpack(bytes(record))


@pytest.mark.parametrize("size", range(28))
def test_any_record_cut_short_is_seen(size):
    with pytest.raises(Unreadable):
        page.unpack(page.pack(7, b"text")[:size])


def test_a_length_beyond_the_limit_is_not_believed():
    head = bytearray(page.pack(1, b"")[:24])
    struct.pack_into("=I", head, 16, 2**32 - 1)
    with pytest.raises(Unreadable, match="4294967295"):
        page.unpack(bytes(head))
    with pytest.raises(ValueError, match="more than"):
        page.pack(1, bytes(page.LARGEST + 1))


def test_another_version_is_named():
    record = bytearray(page.pack(1, b""))
    record[7] = 9
    with pytest.raises(Unreadable, match="version 9"):
        page.unpack(bytes(record))


def test_a_reader_never_sees_a_torn_page(tmp_path):
    path = str(tmp_path / "page")
    page.write(path, 0, b"0" * 10)
    done = threading.Event()

    def write():
        sequence = 0
        while not done.is_set():
            sequence += 1
            page.write(path, sequence, b"%d" % (sequence % 10) * (sequence * 37 % 20000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        whole = 0
        while whole < 250:
            try:
                sequence, data = page.read(path)
            except Unreadable:
                continue  # this reader waited for a core, and the writer has come round
            assert data == b"%d" % (sequence % 10) * len(data)
            whole += 1
    finally:
        done.set()
        writer.join()


def half_a_write(path, sequence):
    """As of a writer that was killed, or waits for a core, in the midst of it."""
    page.write(path, sequence, b"two" * 100)
    with open(path, "r+b") as file:
        file.seek(sequence % 2 * page._HALF + 100)
        file.write(bytes(100))


@pytest.mark.parametrize("first", [0, 1])
def test_while_a_record_is_written_the_one_before_is_read(tmp_path, first):
    path = str(tmp_path / "page")
    for sequence in range(first, first + 4):
        page.write(path, sequence, b"one" * 100)
        half_a_write(path, sequence + 1)
        assert page.read(path) == (sequence, b"one" * 100)


def test_half_a_write_is_refused_and_the_next_one_is_taken(tmp_path):
    path = str(tmp_path / "page")
    page.write(path, 1, b"")
    os.truncate(path, 0)
    half_a_write(path, 2)
    with pytest.raises(Unreadable, match="checksum"):
        page.read(path)
    page.write(path, 3, b"three")
    assert page.read(path) == (3, b"three")


class TestWhoseFile:
    def test_for_the_user_alone(self, tmp_path):
        path = tmp_path / "page"
        page.write(str(path), 1, b"")
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
        with pytest.raises(Unreadable, match=r"open to others.*0644"):
            page.read(str(path))

    def test_links_are_not_followed(self, tmp_path):
        (tmp_path / "elsewhere").write_bytes(page.pack(1, b""))
        (tmp_path / "page").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(Unreadable, match="not a file"):
            page.read(str(tmp_path / "page"))
        with pytest.raises(OSError):
            page.write(str(tmp_path / "page"), 2, b"")

    def test_a_fifo_does_not_hold_up_the_reader(self, tmp_path):
        os.mkfifo(tmp_path / "page", 0o600)
        with pytest.raises(Unreadable, match="not a file"):
            page.read(str(tmp_path / "page"))

    def test_somebody_elses(self, tmp_path, monkeypatch):
        page.write(str(tmp_path / "page"), 1, b"")
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        with pytest.raises(Unreadable, match="owned by user"):
            page.read(str(tmp_path / "page"))


def test_a_program_is_read():
    program = model.parse(payload())
    assert (program.pid, program.name, program.taken) == (10, "python job.py", 4.0)
    assert program.things[0].workers == [] and program.things[0].statistics["done"] == 3


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        payload(pid="10"),
        payload(pid=True),
        payload(pid=10**30),
        payload(taken=float("nan")),
        payload(taken=float("inf")),
        payload().replace(b"3.5", b"1e999"),
        payload().replace(b"3.5", b"1" * 900_000),
        payload(things=[1]),
        payload(things=[{"number": 1, "kind": "Pool", "statistics": [1]}]),
        payload(things=[{}] * 5000),
        payload(name=None),
        payload(name=[[[[[[[[[[[[[]]]]]]]]]]]]]),
    ],
    ids=lambda hostile: repr(hostile[:20]),
)
def test_a_hostile_payload_is_unreadable(hostile):
    with pytest.raises(Unreadable):
        model.parse(hostile)


def test_text_cannot_reach_the_terminal_but_as_text():
    program = model.parse(payload(name="\x1b]0;owned\x07\r\n\udcff\u202e ok " + "x" * 9999))
    assert program.name.isprintable() and " ok xxx" in program.name and len(program.name) <= 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


# A machine that is busy is no defect of the strategies.
SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.slow
@pytest.mark.watchdog(200)
@SETTINGS
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, JSON)))
@example({"things": [{"number": 1, "kind": "Pool", "statistics": {"workers": [None, 1]}}]})
def test_whatever_is_in_it_ends_in_a_program_or_unreadable(changes):
    try:
        program = model.parse(payload(**changes))
    except Unreadable:
        return
    for thing in program.things:
        assert thing.workers is None or all(isinstance(each, dict) for each in thing.workers)


@pytest.mark.watchdog(200)
@SETTINGS
@given(st.binary(max_size=200))
def test_whatever_bytes_are_in_it_end_in_unreadable(data):
    with pytest.raises(Unreadable):
        page.unpack(data)
    with pytest.raises(Unreadable):
        model.parse(data)


def test_records_of_any_fields_become_plain_data():
    import dataclasses
    import enum

    class State(enum.Enum):
        OPEN = "open"

    @dataclasses.dataclass(frozen=True)
    class Inner:
        name: str
        odd: object

    @dataclasses.dataclass(frozen=True)
    class Outer:
        state: State
        rate: float
        inner: tuple

    made = plain(Outer(State.OPEN, float("nan"), (Inner("a" * 1000, 1j), Inner("b", None))))
    assert made["state"] == "open" and made["rate"] is None
    assert made["inner"][1] == {"name": "b", "odd": None}
    assert made["inner"][0]["odd"] == "1j" and len(made["inner"][0]["name"]) == 500
    json.dumps(made)
