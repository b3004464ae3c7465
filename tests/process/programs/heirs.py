"""A program whose children are still there when it is gone; prints "ready" and their pids.

heirs.py METHOD CASE REPORT: the case says what the children have and do; they write into the files
REPORT.NAME what became of it. The program ends by ``os._exit()`` when its stdin is at its end.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import tines as mp
from tines.errors import TransportError

LONG = 1000


def report(path, name, text):
    """Write a whole file at once."""
    with open(f"{path}.{name}.part", "w") as file:
        file.write(text)
    os.rename(f"{path}.{name}.part", f"{path}.{name}")


def until_orphaned():
    while mp.parent_process().is_alive():
        time.sleep(0.01)


def go_on(ready, path):
    """Be there when the parent is gone, see that, and end in one's own time."""
    ready.send(os.getpid())
    mp.parent_process().join()
    assert not mp.parent_process().is_alive()
    report(path, "orphan", "went on")


def clean_up(ready, path):
    """The loop of many programs."""
    ready.send(os.getpid())
    try:
        until_orphaned()
    finally:
        report(path, "orphan", "cleaned up")


def handle(ready, path):
    def handler(*_):
        report(path, "handler", "asked to end")
        sys.exit(0)

    signal.signal(signal.SIGTERM, handler)
    ready.send(os.getpid())
    time.sleep(LONG)


def ignore(ready, path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.send(os.getpid())
    time.sleep(LONG)


def sleep(ready, path):
    ready.send(os.getpid())
    time.sleep(LONG)


def take(ready, path, queue):
    """Wait already when the owner of the queue goes."""
    ready.send(os.getpid())
    try:
        report(path, "taker", f"took {queue.get()}")
    except TransportError as error:
        report(path, "taker", f"{type(error).__name__}: {error}")


def give(ready, path, queue):
    ready.send(os.getpid())
    until_orphaned()
    try:
        queue.put("what was given")
        report(path, "giver", "gave")
    except TransportError as error:
        report(path, "giver", f"{type(error).__name__}: {error}")


def fill(ready, path, queue):
    """Wait for room, which nobody will make."""
    ready.send(os.getpid())
    try:
        queue.put("more", timeout=3)
    except Exception as error:
        report(path, "filler", f"{type(error).__name__}: {error}")


class Bound(mp.Process):
    dies_with_parent = True


def nap(path, name):
    open(f"{path}.{name}", "w").close()
    time.sleep(LONG)


def start(ctx, target, *args, **options):
    process = ctx.Process(target=target, args=args, **options)
    process.start()
    return process.pid


def main(method, case, path):
    ctx = mp.get_context(method)
    ready, writer = ctx.Pipe(duplex=False)
    pids, expected = [], 1
    if case in ("go_on", "clean_up", "sleep"):
        pids.append(start(ctx, globals()[case], writer, path))
    elif case in ("handle", "ignore"):
        pids.append(start(ctx, globals()[case], writer, path, daemon=True))
    elif case == "keyword":
        pids.append(start(ctx, sleep, writer, path, dies_with_parent=True))
    elif case == "class":
        mp.set_start_method(method)
        process = Bound(target=sleep, args=(writer, path))
        process.start()
        pids.append(process.pid)
    elif case == "stays":
        pids.append(start(ctx, go_on, writer, path, daemon=True, dies_with_parent=False))
    elif case == "queue":
        queue = ctx.Queue()
        expected = 2
        pids.append(start(ctx, take, writer, path, queue))
        pids.append(start(ctx, give, writer, path, queue))
    elif case == "full":
        queue = ctx.Queue(1)
        queue.put("first")
        pids.append(start(ctx, fill, writer, path, queue))
    elif case == "log":
        import tines.logging

        tines.logging.forward()
        pids.append(start(ctx, log, writer, path))
    elif case in ("pool", "executor"):
        pool = ctx.Pool(1) if case == "pool" else mp.ProcessPoolExecutor(1, mp_context=ctx)
        submit = pool.apply_async if case == "pool" else lambda f, args: pool.submit(f, *args)
        submit(nap, (path, "napping"))
        while not os.path.exists(f"{path}.napping"):
            time.sleep(0.01)
        expected = 0
    for _ in range(expected):
        ready.recv()
    print("ready", *pids, flush=True)
    sys.stdin.readline()
    os._exit(0)


def log(ready, path):
    import logging

    ready.send(os.getpid())
    until_orphaned()
    for number in range(100):
        logging.getLogger("heir").warning("nobody reads number %d", number)
    report(path, "logger", "went on")


if __name__ == "__main__":
    main(*sys.argv[1:])
