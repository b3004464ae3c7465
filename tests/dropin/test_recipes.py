"""Programs that build on private parts of ``multiprocessing.pool``, run by ``python -m tines``."""

from __future__ import annotations

import pytest

from both import Both

ISTARMAP = """
    import multiprocessing
    import multiprocessing.pool as mpp

    def istarmap(self, func, iterable, chunksize=1):
        self._check_running()
        if chunksize < 1:
            raise ValueError("Chunksize must be 1+, not {0:n}".format(chunksize))
        task_batches = mpp.Pool._get_tasks(func, iterable, chunksize)
        result = mpp.IMapIterator(self)
        self._taskqueue.put(
            (
                self._guarded_task_generation(result._job, mpp.starmapstar, task_batches),
                result._set_length,
            )
        )
        return (item for chunk in result for item in chunk)

    mpp.Pool.istarmap = istarmap

    def add(a, b):
        return a + b

    if __name__ == "__main__":
        multiprocessing.set_start_method("METHOD")
        with multiprocessing.Pool(2) as pool:
            print(list(pool.istarmap(add, zip(range(20), range(20)), 3)))
            print(len(pool._pool), pool._state == mpp.RUN, [w.name for w in pool._pool])
"""

NESTED = """
    import multiprocessing
    import multiprocessing.pool

    class NoDaemonProcess(multiprocessing.Process):
        @property
        def daemon(self):
            return False

        @daemon.setter
        def daemon(self, value):
            pass

    class NoDaemonContext(type(multiprocessing.get_context("METHOD"))):
        Process = NoDaemonProcess

    class NestablePool(multiprocessing.pool.Pool):
        def __init__(self, *args, **kwargs):
            kwargs["context"] = NoDaemonContext()
            super().__init__(*args, **kwargs)

    def inner(n):
        with multiprocessing.Pool(1) as pool:
            return multiprocessing.current_process().daemon, pool.apply(pow, (n, 2))

    if __name__ == "__main__":
        # It starts processes by the default method, which is another one from Python 3.14 on.
        multiprocessing.set_start_method("METHOD")
        with NestablePool(2) as pool:
            print(pool.map(inner, range(4)))
            pool.close()
            pool.join()  # killed workers of the standard library leave folders
"""

PARMAP = """
    import parmap

    def power(x, exponent):
        return x**exponent

    if __name__ == "__main__":
        print(parmap.map(power, range(10), 2, pm_processes=2))
        print(parmap.starmap(power, [(2, 3), (3, 2)], pm_processes=2, pm_chunksize=1))
        print(parmap.map_async(power, range(10), 2, pm_processes=2).get())
"""

READERS = """
    import multiprocessing
    from multiprocessing.connection import wait

    def work(queue, number):
        queue.put(number)

    if __name__ == "__main__":
        context = multiprocessing.get_context("METHOD")
        queues = {context.Queue(-1): n for n in range(3)}
        children = [context.Process(target=work, args=(queue, n)) for queue, n in queues.items()]
        for child in children:
            child.start()
        readers = {queue._reader: queue for queue in queues}
        got = []
        while len(got) < 3:
            got += [readers[reader].get() for reader in wait(readers)]
        print(sorted(got))
        for child in children:
            child.join()
"""


@pytest.mark.parametrize("program", [ISTARMAP, NESTED, READERS])
def test_recipes(both: Both, program: str, method: str) -> None:
    both.write("program.py", program.replace("METHOD", method))
    ended = both.same("program.py")
    assert ended.code == 0, ended.err


def test_parmap(both: Both) -> None:
    pytest.importorskip("parmap")
    both.write("program.py", PARMAP)
    ended = both.same("program.py")
    assert ended.code == 0, ended.err
