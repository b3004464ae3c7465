"""The recipe of a pool whose workers may have children: the context's, and Pool.Process's."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool


class NoDaemonProcess(multiprocessing.Process):
    @property
    def daemon(self):
        return False

    @daemon.setter
    def daemon(self, value):
        pass


class NoDaemonContext(type(multiprocessing.get_context("fork"))):
    Process = NoDaemonProcess


class NestablePool(multiprocessing.pool.Pool):
    def __init__(self, *args, **kwargs):
        kwargs["context"] = NoDaemonContext()
        super().__init__(*args, **kwargs)


def inner(n):
    return n * n


def outer(n):
    with multiprocessing.Pool(2) as pool:
        return sum(pool.map(inner, range(n)))


if __name__ == "__main__":
    with NestablePool(2) as pool:
        print(pool.map(outer, range(6)))
