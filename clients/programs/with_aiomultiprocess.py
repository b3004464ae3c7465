"""aiomultiprocess: coroutines in processes, a pool of them, and an error."""

from __future__ import annotations

import asyncio
import os

import aiomultiprocess


async def square(n):
    await asyncio.sleep(0)
    return n * n


async def fail():
    raise KeyError("lost")


async def main():
    print(await aiomultiprocess.Worker(target=square, args=(9,)))
    async with aiomultiprocess.Pool(2) as pool:
        print([value async for value in pool.map(square, range(20))])
        try:
            await pool.apply(fail)
        except Exception as error:
            print("error:", "lost" in str(error))


if __name__ == "__main__":
    aiomultiprocess.set_start_method(os.environ["CLIENT_METHOD"])
    asyncio.run(main())
