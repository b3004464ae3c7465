"""multiprocessing-logging: the records of all processes through the handlers of the first."""

from __future__ import annotations

import logging
import multiprocessing
import sys

from multiprocessing_logging import install_mp_handler


def work(n):
    logging.getLogger("work").warning("record %d", n)
    return n


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
    install_mp_handler()
    with multiprocessing.Pool(2) as pool:
        print(sum(pool.map(work, range(30))))
        pool.close()
        pool.join()
    processes = [multiprocessing.Process(target=work, args=(100 + n,)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    logging.shutdown()
