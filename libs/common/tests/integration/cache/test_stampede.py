"""Many want the same at once: it is computed once, in one process and in several."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from libs.common.tests.integration.cache.conftest import MortalRedis, OpenCache

from quarry_common.cache import cache as cache_module
from quarry_common.cache.cache import Cache

TENANT = uuid4()


class Computation:
    """Counts how often it runs, and how often at once."""

    def __init__(self, seconds: float = 0.05, error: Exception | None = None) -> None:
        self.times = self.running = self.at_once = 0
        self._seconds = seconds
        self._error = error

    async def __call__(self) -> bytes:
        self.times += 1
        self.running += 1
        self.at_once = max(self.at_once, self.running)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.running -= 1
        if self._error is not None:
            raise self._error
        return b"value"


async def ask(cache: Cache, computation: Computation, times: int, **more: float) -> list[bytes]:
    return await asyncio.gather(
        *(cache.get_or_compute(TENANT, "key", computation, **more) for _ in range(times))
    )


async def test_two_hundred_tasks_compute_once(open_one: OpenCache) -> None:
    computation = Computation()
    async with open_one() as cache:
        assert await ask(cache, computation, 200) == [b"value"] * 200
        assert computation.times == 1
        stats = cache.stats()
        assert (stats.misses, stats.shared_computations) == (1, 199)


async def test_four_processes_compute_once(open_one: OpenCache) -> None:
    computation = Computation()
    async with AsyncExitStack() as stack:
        caches = [await stack.enter_async_context(open_one()) for _ in range(4)]
        answers = await asyncio.gather(*(ask(cache, computation, 50) for cache in caches))
    assert answers == [[b"value"] * 50] * 4
    assert computation.times == 1


async def test_another_process_is_not_waited_for_beyond_the_deadline(open_one: OpenCache) -> None:
    slow, own = Computation(seconds=30), Computation()
    async with open_one() as one, open_one() as other:
        first = asyncio.create_task(ask(one, slow, 1))
        while not slow.running:
            await asyncio.sleep(0.001)

        async with asyncio.timeout(cache_module.LOCK_SECONDS / 2):
            assert await ask(other, own, 3, wait_seconds=0.05) == [b"value"] * 3
        assert own.times == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_process_that_died_computing_holds_nobody_up_for_long(
    open_one: OpenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LOCK_SECONDS", 0.1)
    async with open_one() as dead, open_one() as cache:
        where = dead._where(TENANT, "key", cache_module.UNCHANGING)
        assert where is not None
        assert dead._redis is not None
        assert (await dead._redis.read(where, "claim-of-the-dead", 0.1)).claimed

        computation = Computation()
        async with asyncio.timeout(10):
            assert await ask(cache, computation, 2, wait_seconds=60) == [b"value"] * 2
        assert computation.times == 1


async def test_the_lock_goes_with_the_computation(open_one: OpenCache) -> None:
    async with open_one() as one, open_one() as other:
        assert await ask(one, Computation(), 1) == [b"value"]
        await one.delete(TENANT, "key")

        async with asyncio.timeout(cache_module.LOCK_SECONDS / 2):
            assert await ask(other, Computation(), 1, wait_seconds=60) == [b"value"]


async def test_an_error_is_not_kept_and_the_next_process_need_not_wait(open_one: OpenCache) -> None:
    failing, own = Computation(error=ValueError("no")), Computation()
    async with open_one() as one, open_one() as other:
        answers = await asyncio.gather(
            *(one.get_or_compute(TENANT, "key", failing) for _ in range(20)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {ValueError}
        assert failing.times == 1

        async with asyncio.timeout(cache_module.LOCK_SECONDS / 2):
            assert await ask(other, own, 1, wait_seconds=60) == [b"value"]


async def test_the_first_caller_may_leave_without_the_others(open_one: OpenCache) -> None:
    computation = Computation()
    async with open_one() as cache:
        first = asyncio.create_task(ask(cache, computation, 1))
        while not computation.running:
            await asyncio.sleep(0.001)
        others = asyncio.create_task(ask(cache, computation, 10))
        await asyncio.sleep(0)
        first.cancel()

        assert await others == [b"value"] * 10
        assert computation.times == 1


async def test_a_computation_nobody_waits_for_gives_back_its_lock(open_one: OpenCache) -> None:
    left, own = Computation(seconds=30), Computation()
    async with open_one() as one, open_one() as other:
        task = asyncio.create_task(ask(one, left, 1))
        while not left.running:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        async with asyncio.timeout(cache_module.LOCK_SECONDS / 2):
            assert await ask(other, own, 1, wait_seconds=60) == [b"value"]


async def test_without_redis_each_process_computes_once(
    open_one: OpenCache, mortal_redis: MortalRedis
) -> None:
    mortal_redis.kill()
    computation = Computation()
    async with open_one(url=mortal_redis.url) as one, open_one(url=mortal_redis.url) as other:
        await asyncio.gather(ask(one, computation, 100), ask(other, computation, 100))
    assert computation.times == 2
