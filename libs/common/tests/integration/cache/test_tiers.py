"""Memory over a real Redis: what is kept where, for whom, and for how long."""

from uuid import UUID, uuid4

import msgspec
import pytest
from libs.common.tests.integration.cache.conftest import OpenCache
from libs.common.tests.integration.conftest import Until
from redis.asyncio import Redis

from quarry_common.cache.keys import Generation
from quarry_common.cache.typed import TypedCache
from quarry_common.contracts.tenancy import PLATFORM_TENANT

TENANT, OTHER = uuid4(), uuid4()


class Passage(msgspec.Struct, frozen=True):
    text: str
    score: float


async def test_what_one_process_keeps_another_finds(open_one: OpenCache) -> None:
    async with open_one() as one, open_one() as other:
        await one.set(TENANT, "key", b"value")

        assert await one.get(TENANT, "key") == b"value"
        assert await other.get(TENANT, "key") == b"value"
        assert await other.get(TENANT, "key") == b"value"

        stats = other.stats()
        assert (stats.memory.hits, stats.memory.misses, stats.memory.hit_rate) == (1, 1, 0.5)
        assert stats.redis is not None
        assert (stats.redis.hits, stats.redis.misses, stats.redis.hit_rate) == (1, 0, 1.0)
        assert (stats.hits, stats.misses, stats.hit_rate) == (2, 0, 1.0)
        assert stats.breaker == "closed"


@pytest.mark.parametrize("tenant", [OTHER, PLATFORM_TENANT])
async def test_tenants_are_apart_in_both_tiers(open_one: OpenCache, tenant: UUID) -> None:
    async with open_one() as one, open_one() as other:
        await one.set(TENANT, "key", b"value")
        for cache in (one, other):
            assert await cache.get(tenant, "key") is None
            assert await cache.get(tenant, f"{TENANT}:search:-:key") is None


async def test_names_are_apart_and_share_the_tiers(open_one: OpenCache) -> None:
    async with open_one() as cache:
        vectors = cache.named("vectors")
        await cache.set(TENANT, "key", b"value")
        await vectors.set(TENANT, "key", b"vector")

        assert await cache.get(TENANT, "key") == b"value"
        assert await vectors.get(TENANT, "key") == b"vector"
        assert (cache.stats().memory.entries, vectors.stats().memory.entries) == (1, 1)


async def test_generations_are_apart(open_one: OpenCache) -> None:
    before, after = Generation("1", uuid4().hex), Generation("2", uuid4().hex)
    async with open_one() as one, open_one() as other:
        await one.set(TENANT, "key", b"old", generation=before)

        assert await one.get(TENANT, "key", generation=after) is None
        assert await other.get(TENANT, "key", generation=after) is None
        # Processes number their own generations as they like; what they share is the other half.
        assert await other.get(TENANT, "key", generation=Generation("77", before.shared)) == b"old"


async def test_without_a_shared_generation_only_the_memory_is_used(open_one: OpenCache) -> None:
    alone = Generation("1", None)
    async with open_one() as one, open_one() as other:
        await one.set(TENANT, "key", b"value", generation=alone)

        assert await one.get(TENANT, "key", generation=alone) == b"value"
        assert await other.get(TENANT, "key", generation=alone) is None


async def test_without_a_generation_nothing_is_cached(open_one: OpenCache) -> None:
    computed = 0

    async def compute() -> bytes:
        nonlocal computed
        computed += 1
        return b"fresh"

    async with open_one() as cache:
        await cache.set(TENANT, "key", b"value", generation=None)
        assert await cache.get(TENANT, "key", generation=None) is None
        for _ in range(3):
            assert await cache.get_or_compute(TENANT, "key", compute, generation=None) == b"fresh"
        assert computed == 3
        stats = cache.stats()
        assert (stats.paused, stats.misses, stats.hit_rate) == (4, 0, None)


async def test_an_entry_ends_with_its_time_wherever_it_was_found(open_one: OpenCache, until: Until) -> None:
    async with open_one() as one, open_one() as other:
        await one.set(TENANT, "key", b"value", ttl_seconds=0.5)
        # From here on it is in this process's memory, for the time that it had left in Redis.
        assert await other.get(TENANT, "key") == b"value"

        async def gone() -> bool:
            return await one.get(TENANT, "key") is None and await other.get(TENANT, "key") is None

        await until(gone)


async def test_a_deleted_entry_is_gone_from_both_tiers(open_one: OpenCache) -> None:
    async with open_one() as one, open_one() as other:
        await one.set(TENANT, "key", b"value")
        await one.delete(TENANT, "key")

        assert await one.get(TENANT, "key") is None
        assert await other.get(TENANT, "key") is None


async def test_a_pattern_leaves_other_tenants_and_names(
    open_one: OpenCache, redis_url: str, prefix: str
) -> None:
    async with open_one(cache_max_memory_items=100) as one, open_one() as other:
        client = Redis.from_url(redis_url)
        async with client.pipeline(transaction=False) as pipeline:
            for number in range(10_000):
                for tenant in (TENANT, OTHER):
                    await pipeline.set(f"{prefix}entry:{tenant}:search:-:q{number}", b"1")
            await pipeline.execute()
        await client.aclose()
        await one.set(TENANT, "other", b"1")
        await one.named("vectors").set(TENANT, "q1", b"1")

        done = await one.invalidate_pattern(TENANT, "q*")

        assert (done.redis, done.complete) == (10_000, True)
        assert await other.get(TENANT, "q1") is None
        assert await other.get(TENANT, "other") == b"1"
        assert await other.named("vectors").get(TENANT, "q1") == b"1"
        assert (await one.invalidate_pattern(OTHER, "*")).redis == 10_000

        done = await one.purge(TENANT)
        assert (done.redis, done.memory) == (2, 2)


@pytest.mark.parametrize("hostile", ["*", "?", "[a-z]*", "a*", "q?", "\\*", f"*:{OTHER}:*"])
async def test_a_hostile_pattern_removes_only_what_the_tenant_has(open_one: OpenCache, hostile: str) -> None:
    async with open_one() as one, open_one() as other:
        await one.set(OTHER, "ab", b"1")
        await one.set(TENANT, hostile, b"1")
        await one.invalidate_pattern(TENANT, hostile)

        assert await other.get(TENANT, hostile) is None
        assert await other.get(OTHER, "ab") == b"1"


async def test_switched_off_nothing_is_kept_and_no_server_is_asked(open_one: OpenCache) -> None:
    async def compute() -> bytes:
        return b"fresh"

    async with open_one(url="redis://127.0.0.1:1/0", cache_enabled="false") as cache:
        await cache.set(TENANT, "key", b"value")
        assert await cache.get(TENANT, "key") is None
        assert await cache.get_or_compute(TENANT, "key", compute) == b"fresh"
        assert (await cache.invalidate_pattern(TENANT, "*")).complete
        stats = cache.stats()
        assert (stats.enabled, stats.breaker, stats.memory.entries) == (False, "off", 0)


async def test_structs_come_back_as_they_were(open_one: OpenCache) -> None:
    passage = Passage("notice period", 0.5)

    async def compute() -> Passage:
        return passage

    async with open_one() as one, open_one() as other:
        await TypedCache(one, Passage).set(TENANT, "key", passage)
        typed = TypedCache(other, Passage)
        assert await typed.get(TENANT, "key") == passage
        assert await typed.get_or_compute(TENANT, "new", compute) == passage
        await typed.delete(TENANT, "key")
        assert await typed.get(TENANT, "key") is None


@pytest.mark.parametrize("spoiled", [b"", b"\xc1", b"text", msgspec.msgpack.encode({"text": 1})])
async def test_what_cannot_be_read_is_a_miss_and_removed(open_one: OpenCache, spoiled: bytes) -> None:
    passage = Passage("fresh", 1.0)

    async def compute() -> Passage:
        return passage

    async with open_one() as one, open_one() as other:
        typed = TypedCache(one, Passage)
        await other.set(TENANT, "key", spoiled)
        assert await typed.get(TENANT, "key") is None
        async with open_one() as third:
            assert await third.get(TENANT, "key") is None
        await other.set(TENANT, "key", spoiled)
        assert await typed.get_or_compute(TENANT, "key", compute) == passage
        async with open_one() as third:
            assert await TypedCache(third, Passage).get(TENANT, "key") == passage


async def test_an_error_in_reading_is_not_taken_for_a_spoiled_entry(open_one: OpenCache) -> None:
    computed = 0

    async def compute() -> Passage:
        nonlocal computed
        computed += 1
        return msgspec.json.decode(b"{}", type=Passage)

    async with open_one() as cache:
        with pytest.raises(msgspec.ValidationError):
            await TypedCache(cache, Passage).get_or_compute(TENANT, "key", compute)
        assert computed == 1
