"""The pipe that a worker's orders come by."""

from __future__ import annotations

import os

import pytest

from tines.engines.orders import Orders, frame


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


def test_orders_come_one_by_one_and_then_none(pipe):
    reader, writer = pipe
    orders = Orders(reader)
    for order in (b"first", b"", b"x" * 31):
        os.write(writer, frame(order))
    assert [orders.receive() for _ in range(4)] == [b"first", b"", b"x" * 31, None]


def test_none_comes_from_a_parent_that_is_gone():
    reader, writer = os.pipe()
    os.close(writer)
    try:
        assert Orders(reader).receive() is None
    finally:
        os.close(reader)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_in_the_midst_of_receiving_spoils_no_order(pipe, when, monkeypatch):
    reader, writer = pipe
    orders = Orders(reader)
    for order in (b"one", b"another"):
        os.write(writer, frame(order))
    by_the_handler = []
    read = os.read

    def interrupted(fd, size):
        monkeypatch.undo()  # once
        if when == "before":
            by_the_handler.append(orders.receive())
        data = read(fd, size)
        if when == "after":
            by_the_handler.append(orders.receive())
        return data

    monkeypatch.setattr(os, "read", interrupted)
    received = orders.receive()
    assert {received, *by_the_handler} == {b"one", b"another"}
