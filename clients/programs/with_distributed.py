"""dask.distributed: a local cluster of processes, one of which is killed."""

from __future__ import annotations

import os
import signal

from distributed import Client, LocalCluster


def square(n):
    return n * n


def die_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


if __name__ == "__main__":
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        print(client.gather(client.map(square, range(50)))[-5:])
        print(len(set(client.run(os.getpid).values())))
        print(client.submit(die_once, os.path.abspath("died")).result(60))
