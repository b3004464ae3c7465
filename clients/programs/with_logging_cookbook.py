"""The logging cookbook: one process that listens on a queue, and workers that write to it."""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import sys


def listen(queue):
    logging.basicConfig(stream=sys.stdout, format="%(processName)s %(name)s %(message)s")
    while (record := queue.get()) is not None:
        logging.getLogger(record.name).handle(record)


def work(queue):
    root = logging.getLogger()
    root.addHandler(logging.handlers.QueueHandler(queue))
    root.setLevel(logging.DEBUG)
    name = multiprocessing.current_process().name
    for n in range(5):
        logging.getLogger(f"a.b{n}").info("message %d of %s", n, name)


if __name__ == "__main__":
    multiprocessing.set_start_method(os.environ["CLIENT_METHOD"])
    queue = multiprocessing.Queue(-1)
    listener = multiprocessing.Process(target=listen, args=(queue,))
    listener.start()
    workers = [multiprocessing.Process(target=work, args=(queue,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    queue.put_nowait(None)
    listener.join()
