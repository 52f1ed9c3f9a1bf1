"""Purges: of one tenant or of all, and what was on its way meanwhile."""

import asyncio
from uuid import uuid4

from libs.common.tests.integration.cache.conftest import OpenCache
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from quarry_common.cache.keys import Generation

TENANT, OTHER = uuid4(), uuid4()


async def test_everything_of_everybody_goes_and_other_keys_stay(
    open_one: OpenCache, redis_url: str, prefix: str
) -> None:
    async with open_one() as one, open_one() as other, Redis.from_url(redis_url) as redis:
        for tenant in (TENANT, OTHER):
            await one.set(tenant, "key", b"1")
            await one.named("vectors").set(tenant, "key", b"1", generation=Generation("1", "token"))
        await redis.set(f"{prefix}watch", b"1")

        done = await one.purge(None)

        assert (done.memory, done.redis, done.complete) == (4, 4, True)
        for tenant in (TENANT, OTHER):
            assert await one.get(tenant, "key") is None
            assert await other.get(tenant, "key") is None
        assert await redis.keys(f"{prefix}*") == [f"{prefix}watch".encode()]


async def test_a_memory_is_purged_alone(open_one: OpenCache) -> None:
    async with open_one() as one:
        alone = Generation("1", None)
        for tenant in (TENANT, OTHER):
            await one.set(tenant, "key", b"1", generation=alone)

        assert one.purge_memory(TENANT) == 1

        assert await one.get(TENANT, "key", generation=alone) is None
        assert await one.get(OTHER, "key", generation=alone) == b"1"
        assert one.purge_memory(None) == 1


async def test_what_is_being_computed_meanwhile_is_not_kept(open_one: OpenCache) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def compute() -> bytes:
        begun.set()
        await may_end.wait()
        return b"old"

    async def anew() -> bytes:
        return b"new"

    async with open_one() as one, open_one() as other:
        computing = asyncio.create_task(one.get_or_compute(TENANT, "key", compute))
        await begun.wait()
        await one.purge(TENANT)
        may_end.set()

        assert await computing == b"old"
        # Not after a wait for the lock of what was not kept, either.
        async with asyncio.timeout(1):
            assert await other.get_or_compute(TENANT, "key", anew) == b"new"
        assert await one.get(TENANT, "key") in {None, b"new"}


async def test_what_is_on_its_way_to_redis_arrives_before_the_end(
    open_one: OpenCache, redis_url: str, prefix: str
) -> None:
    async def compute() -> bytes:
        return b"old"

    async with open_one() as one:
        await asyncio.gather(*(one.get_or_compute(TENANT, f"key{number}", compute) for number in range(50)))
        one.purge_memory(TENANT)
        await one.settled()

        # Nothing goes on in this process while it asks.
        with BlockingRedis.from_url(redis_url) as redis:
            assert len(redis.keys(f"{prefix}entry:{TENANT}:*")) == 50
