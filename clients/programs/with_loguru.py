"""loguru: records of children through one sink, in the queue of the parent."""

from __future__ import annotations

import multiprocessing
import os
import sys

from loguru import logger


def work(n):
    logger.info("record {}", n)
    logger.complete()


def initialize(parents):
    global logger
    logger = parents


def in_pool(n):
    logger.info("from the pool {}", n)
    return n


if __name__ == "__main__":
    context = multiprocessing.get_context(os.environ["CLIENT_METHOD"])
    logger.remove()
    logger.add(sys.stdout, format="{level} {message}", enqueue=True, context=context)
    processes = [context.Process(target=logger.info, args=(f"record {n}",)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with context.Pool(2, initialize, (logger,)) as pool:
        print(sum(pool.map(in_pool, range(6))))
        pool.close()
        pool.join()
    logger.complete()
    logger.remove()
    print([process.exitcode for process in processes])
