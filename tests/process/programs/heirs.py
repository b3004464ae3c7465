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


def nap(path):
    report(path, "napper", "naps")
    time.sleep(LONG)


def use_proxy(ready, path, shared):
    """Use what a manager's server has, when who started that is gone."""
    ready.send(os.getpid())
    until_orphaned()
    shared["heir"] = shared["maker"] + 1
    report(path, "proxy", f"{dict(shared)}")


def become_a_daemon(ctx, ready, path, shared):
    """Fork twice; the last one uses what the first one has made, also in a child of its own."""
    gone, held = os.pipe()  # its write end is held by the first one alone
    if os.fork():
        return
    os.close(held)
    os.setsid()
    if os.fork():
        os._exit(0)
    ready.send(os.getpid())
    os.read(gone, 1)
    process = ctx.Process(target=put, args=(shared,))
    process.start()
    process.join()
    report(path, "daemon", f"{dict(shared)}")
    sys.exit()


def put(shared):
    shared["child"] = shared["maker"] + 1


def start(ctx, target, *args, **options):
    process = ctx.Process(target=target, args=args, **options)
    process.start()
    return process.pid


def one_process(target, **options):
    def case(ctx, writer, path):
        return [start(ctx, target, writer, path, **options)]

    return case


def bound_class(ctx, writer, path):
    mp.set_start_method(ctx.get_start_method())
    process = Bound(target=sleep, args=(writer, path))
    process.start()
    return [process.pid]


def queue(ctx, writer, path):
    shared = keep(ctx.Queue())
    return [start(ctx, target, writer, path, shared) for target in (take, give)]


def full_queue(ctx, writer, path):
    shared = keep(ctx.Queue(1))
    shared.put("first")
    return [start(ctx, fill, writer, path, shared)]


def forwarded_log(ctx, writer, path):
    import tines.logging

    tines.logging.forward()
    return [start(ctx, log, writer, path)]


def managers(ctx, writer, path):
    """The second one must not hold up the first one."""
    for _ in range(2):
        writer.send(keep(ctx.Manager())._process.pid)
    return []


def proxy(ctx, writer, path):
    shared = keep(keep(ctx.Manager()).dict(maker=1))
    keep(ctx.Manager())
    return [start(ctx, use_proxy, writer, path, shared)]


def daemon(ctx, writer, path):
    shared = keep(keep(ctx.Manager()).dict(maker=1))
    become_a_daemon(ctx, writer, path, shared)
    return []


def shared_memory(ctx, writer, path):
    from tines.managers import SharedMemoryManager

    manager = keep(SharedMemoryManager(ctx=ctx))
    manager.start()
    report(path, "block", manager.SharedMemory(100).name)
    return [start(ctx, go_on, writer, path)]


def workers(make, submit):
    def case(ctx, writer, path):
        submit(keep(make(ctx)))(nap, (path,))
        while not os.path.exists(f"{path}.napper"):
            time.sleep(0.01)
        writer.send(os.getpid())
        return []

    return case


_kept = []


def keep(thing):
    """Have it for as long as this process lives."""
    _kept.append(thing)
    return thing


def submit(executor):
    return lambda function, args: executor.submit(function, *args)


CASES = {
    "go_on": one_process(go_on),
    "clean_up": one_process(clean_up),
    "sleep": one_process(sleep),
    "handle": one_process(handle, daemon=True),
    "ignore": one_process(ignore, daemon=True),
    "keyword": one_process(sleep, dies_with_parent=True),
    "class": bound_class,
    "stays": one_process(go_on, daemon=True, dies_with_parent=False),
    "queue": queue,
    "full": full_queue,
    "log": forwarded_log,
    "managers": managers,
    "proxy": proxy,
    "daemon": daemon,
    "memory": shared_memory,
    "pool": workers(lambda ctx: ctx.Pool(1), lambda pool: pool.apply_async),
    "executor": workers(lambda ctx: mp.ProcessPoolExecutor(1, mp_context=ctx), submit),
}


def main(method, case, path):
    ctx = mp.get_context(method)
    ready, writer = ctx.Pipe(duplex=False)
    pids = CASES[case](ctx, writer, path)
    told = [ready.recv()]
    while len(told) < max(len(pids), 1 + (case == "managers")):
        told.append(ready.recv())
    print("ready", *(pids or told), flush=True)
    sys.stdin.readline()
    os._exit(0)


def log(ready, path):
    import logging

    ready.send(os.getpid())
    while exists(mp.parent_process().pid):
        time.sleep(0.01)
    for number in range(100):
        logging.getLogger("heir").warning("nobody reads number %d", number)
    report(path, "logger", "went on")


def exists(pid):
    """Whether a process is there, as a zombie at least."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
