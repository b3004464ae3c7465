"""A scheduler or a worker of Dask's, in a process of its own: ``dask_part.py`` [ADDRESS NAME].

It says its address when it is there, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys

from distributed import Scheduler, Worker


async def main() -> None:
    if len(sys.argv) > 1:
        part = Worker(sys.argv[1], name=sys.argv[2], nthreads=1, dashboard=False)
    else:
        part = Scheduler(host="127.0.0.1", port=0, dashboard=False)
    async with part:
        print(part.address, flush=True)
        loop = asyncio.get_running_loop()
        told_to_end = loop.run_in_executor(None, sys.stdin.read)
        await asyncio.wait(
            [told_to_end, asyncio.ensure_future(part.finished())],
            return_when=asyncio.FIRST_COMPLETED,
        )


if __name__ == "__main__":
    asyncio.run(main())
