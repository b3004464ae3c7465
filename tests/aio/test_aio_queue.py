"""``aio.Queue``: several waiters, no item lost by cancellation, full queues, the end."""

from __future__ import annotations

import asyncio
import gc
import pickle
import queue as standard
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from aio_children import put_each, take
from support.waiting import PATIENCE, wait_for
from tines import Queue, QueueShutDown, aio, context
from tines.aio.bridge import current
from tines.errors import DecodeError, EncodeError
from tines.transport.contract import Transport

MakeQueue = Callable[..., aio.Queue[Any]]


@pytest.fixture
def make_queue(transport: Transport) -> MakeQueue:
    return lambda *args, **options: aio.Queue(*args, transport=transport.name, **options)


@pytest.fixture(params=["fork", "spawn"])
def start(request: pytest.FixtureRequest) -> Callable[..., Any]:
    if request.param == "fork" and sys.platform == "win32":
        pytest.skip("no fork here")

    def start(function: Any, *args: Any) -> aio.Process:
        process = aio.Process(
            target=function, args=args, context=context.default.get_context(request.param)
        )
        process.start()
        return process

    return start


def test_what_is_put_is_got(make_queue: MakeQueue) -> None:
    async def main() -> None:
        queue = make_queue()
        for number in range(100):
            await queue.put(number)
        assert queue.qsize() == 100
        assert [await queue.get() for _ in range(100)] == list(range(100))
        assert queue.empty()
        with pytest.raises(standard.Empty):
            queue.get_nowait()
        with pytest.raises(EncodeError):
            await queue.put(threading.Lock())
        queue.close()

    asyncio.run(main())


def test_items_of_another_process(make_queue: MakeQueue, start: Any) -> None:
    async def main() -> None:
        queue = make_queue()
        process = start(put_each, queue.queue, list(range(200)))
        assert [await queue.get() for _ in range(200)] == list(range(200))
        assert await process.wait() == 0
        queue.close()

    asyncio.run(main())


def test_several_waiters_make_no_thread_each(make_queue: MakeQueue) -> None:
    async def main() -> None:
        queue = make_queue()
        first = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0.01)
        before = threading.active_count()
        waiters = [first, *(asyncio.ensure_future(queue.get()) for _ in range(500))]
        await asyncio.sleep(0.01)
        assert threading.active_count() <= before
        for number in range(501):
            queue.put_nowait(number)
        # They are served in the order in which they came.
        assert await asyncio.gather(*waiters) == list(range(501))
        queue.close()

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(4))
def test_no_item_is_lost_by_cancellation(make_queue: MakeQueue, seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        queue = make_queue()
        got: list[int] = []

        async def consume() -> None:
            got.append(await queue.get())

        sent = 0
        tasks: list[asyncio.Future[None]] = []
        for _ in range(150):
            tasks += [asyncio.ensure_future(consume()) for _ in range(rng.randrange(4))]
            for _ in range(rng.randrange(3)):
                queue.put_nowait(sent)
                sent += 1
            if tasks:
                rng.choice(tasks).cancel()
            if rng.random() < 0.7:
                await asyncio.sleep(rng.choice((0, 0, 0.001)))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while len(got) < sent:
            got.append(await asyncio.wait_for(queue.get(), PATIENCE))
        assert sorted(got) == list(range(sent))
        queue.close()

    asyncio.run(main())


def test_a_wait_that_times_out(make_queue: MakeQueue) -> None:
    async def main() -> None:
        queue = make_queue()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(queue.get(), 0.02)
        await queue.put(1)
        assert await asyncio.wait_for(queue.get(), PATIENCE) == 1
        queue.close()

    asyncio.run(main())


def test_put_waits_for_room(make_queue: MakeQueue) -> None:
    async def main() -> None:
        queue = make_queue(2)
        puts = [asyncio.ensure_future(queue.put(number)) for number in range(20)]
        await asyncio.sleep(0.05)
        assert sum(put.done() for put in puts) == 2
        assert queue.full()
        with pytest.raises(standard.Full):
            queue.put_nowait(0)
        assert sum(thread.name == "tines aio sender" for thread in threading.enumerate()) == 1
        assert [await queue.get() for _ in range(20)] == list(range(20))
        await asyncio.gather(*puts)
        queue.close()

    asyncio.run(main())
    wait_for(lambda: all(t.name != "tines aio sender" for t in threading.enumerate()))


def test_another_process_makes_room(make_queue: MakeQueue, start: Any) -> None:
    async def main() -> None:
        queue = make_queue(1)
        process = start(take, queue.queue, 10, 0.002)
        for number in range(10):
            await queue.put(number)
        assert await process.result() == list(range(10))
        queue.close()

    asyncio.run(main())


def test_a_cancelled_put_has_put_nothing(make_queue: MakeQueue) -> None:
    async def main() -> None:
        queue = make_queue(1)
        await queue.put(0)
        for number in range(1, 4):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(queue.put(number), 0.02)
        last = asyncio.ensure_future(queue.put("last"))
        assert await queue.get() == 0
        assert await queue.get() == "last"
        await last
        assert queue.empty()
        queue.close()

    asyncio.run(main())


def test_shutdown_reaches_who_waits(make_queue: MakeQueue) -> None:
    async def main() -> None:
        queue = make_queue(1)
        got = asyncio.ensure_future(_drain(queue))
        await asyncio.sleep(0.02)
        await queue.put(1)
        queue.shutdown()
        assert await asyncio.wait_for(got, 20) == [1]
        with pytest.raises(QueueShutDown):
            await queue.get()
        with pytest.raises(QueueShutDown):
            await queue.put(1)
        queue.close()

        full = make_queue(1)
        await full.put(1)
        put = asyncio.ensure_future(full.put(2))
        await asyncio.sleep(0.02)
        full.shutdown(immediate=True)
        with pytest.raises(QueueShutDown):
            await put
        full.close()

    asyncio.run(main())


async def _drain(queue: aio.Queue[Any]) -> list[Any]:
    return [item async for item in queue]


def test_close_reaches_who_waits(make_queue: MakeQueue) -> None:
    async def main() -> None:
        queue = make_queue()
        got = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0.02)
        queue.close()
        with pytest.raises(ValueError, match="is closed"):
            await got
        with pytest.raises(ValueError, match="is closed"):
            await queue.put(1)

    asyncio.run(main())


class Broken:
    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("refused to be unpickled")


def test_an_item_that_does_not_unpickle(make_queue: MakeQueue) -> None:
    async def main() -> None:
        queue = make_queue()
        await queue.put(Broken())
        await queue.put(2)
        with pytest.raises(DecodeError):
            await queue.get()
        assert await queue.get() == 2
        queue.close()

    asyncio.run(main())


def test_loops_one_after_another_and_in_several_threads(make_queue: MakeQueue) -> None:
    queue = make_queue()
    for number in range(3):
        loop_got: list[int] = []

        async def main(number: int = number, got: list[int] = loop_got) -> None:
            waiting = asyncio.ensure_future(queue.get())
            await asyncio.sleep(0.01)
            queue.put_nowait(number)
            got.append(await waiting)

        asyncio.run(main())
        assert loop_got == [number]

    got: list[int] = []

    async def consume() -> None:
        for _ in range(100):
            got.append(await queue.get())

    threads = [threading.Thread(target=asyncio.run, args=(consume(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(300):
        queue.put_nowait(number)
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(300))
    queue.close()


def test_a_front_does_not_travel(make_queue: MakeQueue) -> None:
    queue = make_queue()
    with pytest.raises(TypeError, match=r"pass the queue that it wraps, its \.queue"):
        pickle.dumps(queue)
    queue.close()


def test_two_fronts_of_one_queue(transport: Transport) -> None:
    async def main() -> None:
        queue: Queue[int] = Queue(transport=transport.name)
        fronts = [aio.Queue.wrap(queue), aio.Queue.wrap(queue)]
        waiting = [asyncio.ensure_future(front.get()) for front in fronts * 3]
        await asyncio.sleep(0.01)
        for number in range(6):
            queue.put(number)
        assert await asyncio.gather(*waiting) == list(range(6))
        queue.close()

    asyncio.run(main())
    with pytest.raises(TypeError, match=r"queue must be a tines\.Queue, not 3"):
        aio.Queue.wrap(3)  # type: ignore[arg-type]


class Proactor(asyncio.SelectorEventLoop):
    """A loop that cannot watch descriptors, as that of Windows."""

    def add_reader(self, *_: Any) -> Any:
        if len(_) and getattr(_[0], "fileno", None) is None and not self._own(_[0]):
            raise NotImplementedError
        return super().add_reader(*_)

    def _own(self, descriptor: int) -> bool:
        return descriptor == self._ssock.fileno()  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform == "win32", reason="a selector loop takes sockets only there")
def test_where_the_loop_watches_nothing(make_queue: MakeQueue, start: Any) -> None:
    async def main() -> None:
        queue = make_queue()
        waiting = [asyncio.ensure_future(queue.get()) for _ in range(50)]
        process = start(put_each, queue.queue, list(range(100)))
        # Who asks when there is something is not behind those who wait.
        assert sorted(await asyncio.gather(*waiting)) == list(range(50))
        assert [await queue.get() for _ in range(50)] == list(range(50, 100))
        assert await process.wait() == 0
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(queue.get(), 0.02)
        assert sum(thread.name == "tines aio" for thread in threading.enumerate()) == 1
        queue.close()

    loop = Proactor()
    loop.run_until_complete(main())
    loop.close()
    del loop
    gc.collect()
    wait_for(lambda: all(thread.name != "tines aio" for thread in threading.enumerate()))


def test_one_that_was_woken_in_vain_waits_beside_others(make_queue: MakeQueue) -> None:
    """Somebody else was quicker, as consumers in other processes are; then more come to wait."""

    async def main() -> None:
        queue = make_queue()
        first = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        readable = current().readable(queue.queue.fileno())
        readable.ready()  # what the loop does when the descriptor is readable
        others = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in range(4):
            await queue.put(number)
        found = await asyncio.wait_for(asyncio.gather(first, *others), PATIENCE)
        assert found == [0, 1, 2, 3]  # each in its place
        queue.close()

    asyncio.run(main())


def test_no_thread_can_be_started_to_send(
    make_queue: MakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        queue = make_queue(1)
        await queue.put(1)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await queue.put(2)
        put = asyncio.create_task(queue.put(3))
        assert await queue.get() == 1
        await asyncio.wait_for(put, PATIENCE)
        assert await queue.get() == 3
        queue.close()

    asyncio.run(main())
