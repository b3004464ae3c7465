"""Results that hold descriptors are good for as long as the result, also when their workers have ended."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from multiprocessing import connection
from typing import Any

import pytest

import tines
from pool_tools import MakePool
from tines.errors import DecodeError

PATIENCE = 20.0


def reader_of(item: Any) -> Any:
    """The receiving end of a pipe, with something in it."""
    receiving, sending = connection.Pipe()
    sending.send(item)
    sending.close()
    return receiving


def large_reader_of(item: Any) -> Any:
    return bytearray(100_000), reader_of(item)


def socket_of(item: str) -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.sendall(item.encode())
    theirs.close()
    return ours


class BreaksOnArrival:
    def __init__(self) -> None:
        self.reader = reader_of(0)

    def __setstate__(self, state: Any) -> None:
        raise LookupError("made to fail where it arrives")


def broken(item: int) -> Any:
    return BreaksOnArrival() if item == 1 else reader_of(item)


def received(readers: Any) -> list[Any]:
    found = []
    for reader in readers:
        with reader:
            found.append(reader.recv())
    return found


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_they_are_read_after_the_pool_has_ended(make: MakePool, method: str) -> None:
    pool = make(2, method=method)
    calls = [pool.apply_async(reader_of, (i,)) for i in range(4)]
    whole = pool.map_async(reader_of, range(4))
    single = pool.map_async(reader_of, range(4), chunksize=1)
    lazily = pool.imap(reader_of, range(4))
    chunks = pool.imap(reader_of, range(4), chunksize=2)
    unordered = pool.imap_unordered(reader_of, range(4))
    large = pool.apply_async(large_reader_of, (5,))
    sockets = pool.apply_async(socket_of, ("a socket",))
    pool.close()
    pool.join()
    assert received(call.get(PATIENCE) for call in calls) == [0, 1, 2, 3]
    for readers in (whole.get(PATIENCE), single.get(PATIENCE), lazily, chunks):
        assert received(readers) == [0, 1, 2, 3]
    assert sorted(received(unordered)) == [0, 1, 2, 3]
    payload, reader = large.get(PATIENCE)
    assert len(payload) == 100_000
    assert received([reader]) == [5]
    with sockets.get(PATIENCE) as found:
        assert found.recv(100) == b"a socket"


def test_one_that_breaks_costs_one_result(make: MakePool) -> None:
    pool = make(1)
    calls = [pool.apply_async(broken, (i,)) for i in range(3)]
    pool.close()
    pool.join()
    with pytest.raises(DecodeError, match="made to fail where it arrives"):
        calls[1].get(PATIENCE)
    assert received([calls[0].get(PATIENCE), calls[2].get(PATIENCE)]) == [0, 2]


def test_after_an_executor_has_ended() -> None:
    with tines.ProcessPoolExecutor(1, mp_context=tines.get_context("fork")) as executor:
        futures: list[Future[Any]] = [executor.submit(reader_of, i) for i in range(3)]
    assert received(future.result(PATIENCE) for future in futures) == [0, 1, 2]
