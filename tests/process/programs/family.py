"""A family of processes for the kill matrix; prints "ready" when all of it runs.

family.py METHOD SHAPE, where the shape says what the children are and do.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import time

import tines as mp
from tines import util

# Far beyond any limit of the tests: who is still there after the kill was left behind.
LONG = 1000


def sleep(ready):
    ready.send(os.getpid())
    time.sleep(LONG)


def hang_holding_the_gil(ready):
    ready.send(os.getpid())
    ctypes.PyDLL(None).sleep(LONG)


def sleep_at_exit(ready):
    atexit.register(time.sleep, LONG)  # runs since Python 3.13; the finalizer always does
    util.Finalize(None, time.sleep, args=(LONG,), exitpriority=1)
    ready.send(os.getpid())


def parent_of_two(ready, method):
    context = mp.get_context(method)
    children = [context.Process(target=sleep, args=(ready,), daemon=daemon) for daemon in (0, 1)]
    for child in children:
        child.start()
    children[0].join()


def parent_of_each(ready, method):
    """A grandchild by every other start method."""
    for other in mp.get_all_start_methods():
        mp.get_context(other).Process(target=sleep, args=(ready,)).start()
    time.sleep(LONG)


def start_for_ever(ready, method):
    context = mp.get_context(method)
    ready.send(os.getpid())
    while True:
        context.Process(target=time.sleep, args=(LONG,)).start()


SHAPES = {
    "sleep": (sleep, 1, False),
    "daemon": (sleep, 1, True),
    "hang": (hang_holding_the_gil, 1, False),
    "exit": (sleep_at_exit, 1, False),
    "grandchildren": (parent_of_two, 2, False),
    "daemon-grandchildren": (parent_of_two, 2, True),
    "mixed": (parent_of_each, 3, False),
    "starting": (start_for_ever, 1, False),
}


def main(method, shape):
    context = mp.get_context(method)
    target, messages, daemon = SHAPES[shape.removesuffix("-thread")]
    ready, writer = context.Pipe(duplex=False)
    arguments = (writer,) if target.__code__.co_argcount == 1 else (writer, method)
    children = [context.Process(target=target, args=arguments, daemon=daemon) for _ in range(2)]
    for child in children:
        if shape.endswith("-thread"):
            # A thread that starts a child and ends at once: the child must not end with it.
            thread = threading.Thread(target=child.start)
            thread.start()
            thread.join()
        else:
            child.start()
    for _ in range(2 * messages):
        ready.recv()
    assert all(child.is_alive() for child in children)
    print("ready", *(child.pid for child in children), flush=True)
    if shape == "exit":
        return  # joins its children
    time.sleep(LONG)


if __name__ == "__main__":
    main(*sys.argv[1:])
