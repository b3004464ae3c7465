"""``aio.Process``: its end, its outcome, and several who wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from aio_children import end
from tines import aio, context
from tines.errors import ProcessLostError, StartError

Make = Callable[..., aio.Process]


@pytest.fixture
def make(method: str) -> Make:
    def make(how: str, **options: Any) -> aio.Process:
        ctx = context.default.get_context(method)
        return aio.Process(target=end, args=(how,), context=ctx, **options)

    return make


def test_the_outcome(make: Make) -> None:
    async def main() -> None:
        process = make("well")
        process.start()
        assert await process.result() == "well"
        assert await process.wait() == process.exitcode == 0
        assert await process.exception() is None
        await process.join()
        process.close()

        process = make("raise")
        process.start()
        with pytest.raises(KeyError, match="boo"):
            await process.result()
        assert isinstance(await process.exception(), KeyError)

        process = make("kill")
        process.start()
        with pytest.raises(ProcessLostError):
            await process.result()
        assert await process.wait() == -9

    asyncio.run(main())


def test_many_wait_for_one_without_threads(make: Make) -> None:
    async def main() -> None:
        process = make("sleep")
        process.start()
        before = threading.active_count()
        waiting = [asyncio.ensure_future(process.wait()) for _ in range(200)]
        await asyncio.sleep(0)
        assert threading.active_count() <= before
        process.terminate()
        assert await asyncio.gather(*waiting) == [-15] * 200

    asyncio.run(main())


def test_cancelling_a_wait_leaves_the_process_alone(make: Make) -> None:
    async def main() -> None:
        process = make("sleep", returns=False)
        process.start()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), 0.02)
        assert process.is_alive()
        other = asyncio.ensure_future(process.join())
        process.kill()
        await other
        with pytest.raises(ValueError, match="returns=True"):
            await process.result()

    asyncio.run(main())


def test_misuse(make: Make) -> None:
    async def main() -> None:
        with pytest.raises(StartError, match="was not started"):
            await make("well").wait()
        with pytest.raises(TypeError, match=r"process must be a tines\.Process, not 3"):
            aio.Process.wrap(3)  # type: ignore[arg-type]
        front = make("well")
        assert aio.Process.wrap(front.process).process is front.process
        with pytest.raises(AttributeError):
            _ = front.colour

    asyncio.run(main())


def test_one_loop_after_another(make: Make) -> None:
    process = make("sleep")
    process.start()

    async def briefly() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), 0.01)

    asyncio.run(briefly())
    asyncio.run(briefly())
    process.terminate()
    assert asyncio.run(process.wait()) == -15
