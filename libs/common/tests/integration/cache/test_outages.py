"""Redis slow, frozen or dead: requests go on from memory, nobody waits for long, and it comes back."""

import asyncio
from uuid import uuid4

import pytest
from libs.common.tests.integration.cache.conftest import MortalRedis, OpenCache
from libs.common.tests.integration.conftest import Until
from prometheus_client import REGISTRY

from quarry_common.cache.breaker import FAILURES, State
from quarry_common.cache.cache import Cache

TENANT = uuid4()


def failures(reason: str) -> float:
    return REGISTRY.get_sample_value("cache_redis_failures_total", {"reason": reason}) or 0.0


def breaker(cache: Cache) -> State:
    assert cache._redis is not None
    return cache._redis.breaker.state


async def answers(cache: Cache) -> bool:
    return breaker(cache) is State.CLOSED


async def fresh() -> bytes:
    return b"fresh"


async def test_a_frozen_redis_is_waited_for_a_few_times_and_then_left_alone(
    open_one: OpenCache, mortal_redis: MortalRedis, until: Until
) -> None:
    async with open_one(url=mortal_redis.url) as cache:
        await cache.set(TENANT, "kept", b"value")
        before = failures("timeout")
        mortal_redis.freeze()

        # One after the other, so that each wait would add up.
        for number in range(2_000):
            assert await cache.get(TENANT, "kept") == b"value"
            assert await cache.get_or_compute(TENANT, f"new{number}", fresh) == b"fresh"
        assert FAILURES <= failures("timeout") - before <= FAILURES + 3
        assert breaker(cache) is not State.CLOSED
        assert REGISTRY.get_sample_value("cache_breaker_state") in {State.OPEN, State.HALF_OPEN}

        mortal_redis.wake()
        await until(lambda: answers(cache))
        assert REGISTRY.get_sample_value("cache_breaker_state") == State.CLOSED
        async with open_one(url=mortal_redis.url) as other:
            await cache.set(TENANT, "again", b"value")
            assert await other.get(TENANT, "again") == b"value"


async def test_an_answer_is_waited_for_no_longer_than_the_settings_say(
    open_one: OpenCache, mortal_redis: MortalRedis
) -> None:
    settings = {"redis_timeout_seconds": 0.05, "redis_connect_timeout_seconds": 10}
    async with open_one(url=mortal_redis.url, **settings) as cache:
        await cache.set(TENANT, "key", b"value")
        mortal_redis.freeze()
        async with asyncio.timeout(5):
            assert await cache.get(TENANT, "other") is None
        assert breaker(cache) is State.CLOSED
        mortal_redis.wake()


async def test_under_load_a_freeze_of_seconds_is_an_error_for_nobody(
    open_one: OpenCache, mortal_redis: MortalRedis, until: Until
) -> None:
    answered = 0
    slowest = 0.0
    over = asyncio.Event()

    async def client(number: int) -> None:
        nonlocal answered, slowest
        clock = asyncio.get_running_loop().time
        while not over.is_set():
            began = clock()
            key = f"{number}:{answered}"
            assert await cache.get_or_compute(TENANT, key, fresh) == b"fresh"
            assert await cache.get(TENANT, key) == b"fresh"
            slowest = max(slowest, clock() - began)
            answered += 1
            await asyncio.sleep(0.005)

    async with open_one(url=mortal_redis.url) as cache:
        async with asyncio.TaskGroup() as group:
            for number in range(64):
                group.create_task(client(number))

            async def under_load() -> bool:
                return answered >= 64

            await until(under_load)
            healthy = answered
            mortal_redis.freeze()
            await asyncio.sleep(3)
            frozen = answered
            mortal_redis.wake()
            await until(lambda: answers(cache))
            over.set()
        assert frozen > healthy > 0
        # Two commands of at most a turn, a connect and an answer each; the rest is this machine's.
        assert slowest < 2.5
        stats = cache.stats()
        assert stats.hit_rate == pytest.approx(0.5, abs=0.01)


async def test_a_dead_redis_comes_back_empty(
    open_one: OpenCache, mortal_redis: MortalRedis, until: Until
) -> None:
    async with open_one(url=mortal_redis.url) as cache:
        await cache.set(TENANT, "kept", b"value")
        mortal_redis.kill()
        for number in range(50):
            assert await cache.get_or_compute(TENANT, f"new{number}", fresh) == b"fresh"
            assert await cache.get(TENANT, "kept") == b"value"
        assert breaker(cache) is not State.CLOSED
        assert await cache.redis_usage() is None

        mortal_redis.start()
        await until(lambda: answers(cache))
        assert await cache.get_or_compute(TENANT, "after", fresh) == b"fresh"
        async with open_one(url=mortal_redis.url) as other:

            async def is_shared() -> bool:
                return await other.get(TENANT, "after") == b"fresh"

            await until(is_shared)  # it is written in the background
            assert await other.get(TENANT, "kept") is None


async def test_a_process_starts_without_redis(open_one: OpenCache, mortal_redis: MortalRedis) -> None:
    mortal_redis.kill()
    async with open_one(url=mortal_redis.url) as cache:
        assert await cache.get_or_compute(TENANT, "key", fresh) == b"fresh"
        assert await cache.get(TENANT, "key") == b"fresh"


async def test_an_invalidation_says_that_redis_failed_in_it(
    open_one: OpenCache, mortal_redis: MortalRedis
) -> None:
    async with open_one(url=mortal_redis.url) as cache:
        await cache.set(TENANT, "key", b"value")
        mortal_redis.freeze()

        done = await cache.invalidate_pattern(TENANT, "*")
        assert (done.memory, done.complete) == (1, False)
        mortal_redis.wake()


async def test_a_caller_that_is_cancelled_spoils_no_connection(open_one: OpenCache) -> None:
    async with open_one(redis_max_connections=1) as one, open_one() as other:
        for number in range(20):
            await other.set(TENANT, f"{number}", f"{number}".encode())
        for number in range(20):
            task = asyncio.create_task(one.get(TENANT, f"{number}"))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await one.get(TENANT, f"{number}") == f"{number}".encode()
        assert breaker(one) is State.CLOSED


async def test_more_callers_than_connections_do_not_open_the_breaker(open_one: OpenCache) -> None:
    async with open_one(redis_max_connections=2) as cache:
        keys = [f"{number}" for number in range(500)]
        assert await asyncio.gather(*(cache.get_or_compute(TENANT, key, fresh) for key in keys)) == [
            b"fresh"
        ] * len(keys)
        assert breaker(cache) is State.CLOSED


async def test_a_refusing_redis_is_like_none(open_one: OpenCache, mortal_redis: MortalRedis) -> None:
    wrong = mortal_redis.url.replace("of-the-test", "wrong")
    async with open_one(url=wrong) as cache:
        for number in range(20):
            assert await cache.get_or_compute(TENANT, f"{number}", fresh) == b"fresh"
        assert breaker(cache) is not State.CLOSED
