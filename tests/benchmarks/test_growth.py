"""The curves: how costs grow with the number of things."""

from __future__ import annotations

import errno
from typing import Any
from xml.etree import ElementTree

import pytest
from benchmarks.model import Unsupported
from benchmarks.peers.contract import Peer, Queue
from benchmarks.report.curves import Curve, Plot, line_chart
from benchmarks.subjects import find
from benchmarks.subjects.growth import CURVES

from benchmarks import peers

SVG = "{http://www.w3.org/2000/svg}"


class Scarce(Peer):
    """Has descriptors for so many queues."""

    def __init__(self, most: int) -> None:
        self.left = most

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        if not self.left:
            raise OSError(errno.EMFILE, "too many open files")
        self.left -= 1
        return Queue(self)

    def put(self, item: Any) -> None:
        raise NotImplementedError

    get = put


def measured(peer: Peer, what: str, sizes: list[int]) -> dict[str, float]:
    return find("growth").measure(peer, {"what": what, "sizes": sizes, "seconds": 0.0})


@pytest.mark.parametrize("what", CURVES)
def test_each_curve_has_its_points(what: str) -> None:
    if what == "kept":
        pytest.importorskip("numpy")
    points = measured(peers.find("tines"), what, [2, 4])
    assert set(points) == {"2", "4"}


def test_a_peer_that_gives_up_has_the_points_up_to_there() -> None:
    assert set(measured(Scarce(5), "made", [2, 3, 100])) == {"2", "3"}
    with pytest.raises(Unsupported):
        measured(Scarce(1), "made", [2, 3])


def test_what_cannot_be_cancelled_is_left_out() -> None:
    with pytest.raises(Unsupported):
        measured(peers.find("stdlib"), "cancelled", [2])


def test_a_level_curve_is_drawn_level_and_a_steep_one_steep() -> None:
    level = Curve("level", [(10, 5.0), (100, 5.0), (1000, 5.0)], own=True)
    steep = Curve("steep & short", [(10, 5.0), (100, 50.0)])
    drawing = ElementTree.fromstring(line_chart("Growth", [Plot("us", [level, steep])]))
    lines = [line.get("points", "").split() for line in drawing.iter(f"{SVG}polyline")]
    places = [[tuple(map(float, point.split(","))) for point in line] for line in lines]
    assert [len(line) for line in places] == [3, 2]
    assert len({y for _, y in places[0]}) == 1
    assert places[1][1][1] < places[1][0][1] == places[0][0][1]
    assert places[1][1][0] == places[0][1][0] < places[0][2][0]
    texts = [text.text for text in drawing.iter(f"{SVG}text")]
    assert {"Growth", "us", "level", "steep & short", "1,000"} <= set(texts)


def test_a_curve_without_points_is_no_error() -> None:
    ElementTree.fromstring(line_chart("Growth", [Plot("us", [Curve("none", [])]), Plot("us", [])]))
