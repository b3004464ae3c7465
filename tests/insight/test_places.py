"""The directory: whose it must be, and what is swept out of it."""

from __future__ import annotations

import os

import pytest

from tines.insight import places
from tines.insight.places import Untrusted

NAME = "1234-0123456789abcdef"


@pytest.fixture
def base(place):
    places.make_directory(str(place))
    descriptor = places.open_directory(str(place))
    yield descriptor
    os.close(descriptor)


def entry(place, name=NAME):
    (place / name).mkdir(0o700)
    os.mkfifo(place / name / places.DOOR, 0o600)
    (place / name / places.PAGE).write_bytes(b"")
    return place / name


def hold(path):
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def test_where_it_is(monkeypatch, tmp_path):
    uid = os.getuid()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert places.directory() == str(tmp_path / "tines")
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    for useless in ("", "relative", str(tmp_path / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", useless)
        assert places.directory() == f"/elsewhere/tines-{uid}"


def test_it_is_made_for_the_user_alone(place):
    places.make_directory(str(place))
    places.make_directory(str(place))
    assert place.stat().st_mode & 0o777 == 0o700


def test_one_that_others_may_use_is_refused(place):
    place.mkdir(0o755)
    with pytest.raises(Untrusted, match="open to others"):
        places.make_directory(str(place))


def test_a_link_is_refused(place, tmp_path):
    (tmp_path / "elsewhere").mkdir(0o700)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Untrusted, match="not a directory"):
        places.make_directory(str(place))


def test_somebody_elses_is_refused(place, monkeypatch):
    place.mkdir(0o700)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(Untrusted, match="owned by"):
        places.make_directory(str(place))


def test_an_entry_lives_as_long_as_its_door_is_held(place, base):
    door = hold(entry(place) / places.DOOR)
    assert places.sweep(base) == [NAME]
    os.close(door)
    assert places.sweep(base) == []
    assert os.listdir(place) == []


def test_half_swept_entries_go_as_well(place, base):
    for number, part in enumerate([places.DOOR, places.PAGE]):
        (entry(place, f"{number + 1}-0123456789abcdef") / part).unlink()
    assert places.sweep(base) == []
    assert os.listdir(place) == []


def test_the_ears_of_readers_that_have_gone(place, base):
    names = [places.watch(places.token()) for _ in range(2)]
    for name in names:
        os.mkfifo(place / name, 0o600)
    ear = hold(place / names[0])
    places.sweep(base)
    assert os.listdir(place) == names[:1]
    os.close(ear)


def test_what_is_being_made_is_left_alone_for_a_minute(place, base):
    hidden = [entry(place, "." + NAME), place / f".watch-{places.token()}"]
    os.mkfifo(hidden[1], 0o600)
    assert places.sweep(base) == []
    for each in hidden:
        assert each.exists()
        os.utime(each, (0, 0))
    places.sweep(base)
    assert os.listdir(place) == []


def test_what_is_not_ours_is_never_removed(place, base, tmp_path):
    keep = tmp_path / "keep"
    keep.mkdir(0o700)
    (keep / places.PAGE).write_bytes(b"precious")
    (place / NAME).symlink_to(keep)
    (place / "notes.txt").write_bytes(b"")
    places.sweep(base)
    assert (keep / places.PAGE).read_bytes() == b"precious"
    assert sorted(os.listdir(place)) == [NAME, "notes.txt"]


def test_sweeping_a_place_that_others_sweep(place, base):
    from concurrent.futures import ThreadPoolExecutor

    for number in range(1, 200):
        entry(place, f"{number}-0123456789abcdef")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: places.sweep(base), range(8)))
    assert os.listdir(place) == []
