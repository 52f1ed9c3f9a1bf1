"""What processes agree on in a real Redis, and what they must not believe."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from libs.common.tests.integration.cache.conftest import settings_of
from redis.asyncio import Redis

from quarry_common.cache.agreement import Agreed, Agreement, News
from quarry_common.cache.connection import open_redis

TENANT, OTHER = uuid4(), uuid4()


@pytest.fixture
async def redis(redis_url: str, prefix: str) -> AsyncIterator[Redis]:
    client = open_redis(settings_of(redis_url, prefix), timeout_seconds=2, connections=20)
    yield client
    await client.aclose()


class Process:
    def __init__(self, redis: Redis, prefix: str) -> None:
        self.agreement = Agreement(redis, prefix)

    async def tell(
        self,
        *events: str,
        tenant: UUID = TENANT,
        wanted: bool = True,
        hearing: bool = True,
        joining: bool = True,
    ) -> Agreed | None:
        news = {tenant: News(events, wanted)}
        return await self.agreement.exchange(news, hearing=hearing, vouching=hearing, joining=joining)

    async def generation(self, *events: str, tenant: UUID = TENANT, wanted: bool = True) -> str:
        agreed = await self.tell(*events, tenant=tenant, wanted=wanted)
        assert agreed is not None
        assert agreed.generations is not None
        return agreed.generations[tenant]


@pytest.fixture
async def processes(redis: Redis, prefix: str) -> list[Process]:
    made = [Process(redis, prefix) for _ in range(3)]
    for process in made:
        assert await process.tell() is None  # it has to learn what time it is there
    return made


async def test_all_have_the_same_generation(processes: list[Process]) -> None:
    assert len({await process.generation() for process in processes}) == 1
    assert await processes[0].generation(tenant=OTHER) != await processes[1].generation()


async def test_an_event_makes_one_new_generation_whoever_hears_it_first(processes: list[Process]) -> None:
    before = await processes[0].generation()
    after = {await process.generation("event") for process in processes}
    assert len(after) == 1
    assert before not in after


async def test_events_in_another_order_are_events_all_the_same(processes: list[Process]) -> None:
    one, other, _ = processes
    seen = [await one.generation(), await one.generation("b"), await other.generation("a")]
    assert len(set(seen)) == 3
    # Both have now heard both.
    assert await one.generation("a") == await other.generation("b") == seen[2]


async def test_no_generation_ever_comes_back(processes: list[Process], redis: Redis, prefix: str) -> None:
    seen = [await processes[0].generation()]
    for number in range(5):
        await redis.delete(f"{prefix}generation:{TENANT}")  # as eviction does
        seen.append(await processes[number % 3].generation())
        await redis.delete(f"{prefix}generation:{TENANT}", f"{prefix}generation:{TENANT}:events")
        seen.append(await processes[number % 3].generation("event"))
    assert len(set(seen)) == len(seen)


async def test_a_tenant_that_nobody_asks_for_leaves_no_trace(
    processes: list[Process], redis: Redis, prefix: str
) -> None:
    assert await processes[0].generation("event", wanted=False) == ""
    assert await redis.keys(f"{prefix}generation:*") == []


async def test_who_has_not_listened_long_enough_is_not_let_in(processes: list[Process]) -> None:
    one, other, _ = processes
    await one.generation()
    refused = await other.tell(joining=False)
    assert refused == Agreed("", None)

    # Once in, a process stays in.
    assert await other.generation() == await one.generation()
    agreed = await other.tell(joining=False)
    assert agreed is not None
    assert agreed.generations is not None

    other.agreement.leave()
    assert await other.tell(joining=False) == Agreed("", None)


async def test_who_does_not_hear_begins_nothing(processes: list[Process]) -> None:
    assert await processes[0].tell(hearing=False) == Agreed("", None)


async def test_when_the_watch_has_ended_all_begins_anew(
    processes: list[Process], redis: Redis, prefix: str
) -> None:
    before = await processes[0].generation("event")
    await redis.delete(f"{prefix}watch")

    # Nobody vouches for what happened in between, not even who has just been on the watch.
    agreed = await processes[0].tell(joining=False)
    assert agreed is not None
    assert agreed.generations is not None
    assert agreed.generations[TENANT] != before
    assert await processes[1].generation() == agreed.generations[TENANT]


async def test_only_who_vouches_prolongs_the_watch(
    processes: list[Process], redis: Redis, prefix: str
) -> None:
    await processes[0].generation()
    await redis.pexpire(f"{prefix}watch", 500)
    await processes[1].tell(hearing=False)
    assert await redis.pttl(f"{prefix}watch") <= 500
    await processes[1].tell()
    assert await redis.pttl(f"{prefix}watch") > 500


async def test_the_watch_of_another_server_is_not_believed(
    processes: list[Process], redis: Redis, prefix: str
) -> None:
    """A replica that was promoted has the keys, but perhaps not the last of what was told."""
    before = await processes[0].generation()
    watch = await redis.get(f"{prefix}watch")
    promoted = b"0" * 40 + watch[40:]
    await redis.set(f"{prefix}watch", promoted, px=60_000)
    await redis.hset(f"{prefix}generation:{TENANT}", "watch", promoted)

    assert await processes[1].generation() != before
    assert (await redis.get(f"{prefix}watch"))[:40] == watch[:40]


@pytest.mark.parametrize("milliseconds", [-1_001, 60_000])
async def test_what_reaches_redis_late_vouches_for_nothing(
    processes: list[Process], redis: Redis, prefix: str, milliseconds: int
) -> None:
    """As when Redis stood still while it was on its way, or its clock was set back."""
    late = processes[0]
    late.agreement._clock += milliseconds
    assert await late.tell("event") is None
    assert await redis.keys(f"{prefix}*") == []

    # It knows the time again by that.
    assert await late.generation("event")


async def test_many_at_once_agree(redis: Redis, prefix: str) -> None:
    processes = [Process(redis, prefix) for _ in range(10)]
    events = [f"event{number}" for number in range(50)]
    for process in processes:
        await process.tell()
    for start in range(0, 50, 10):
        await asyncio.gather(*(process.generation(*events[start : start + 10]) for process in processes))
    assert len({await process.generation(*events) for process in processes}) == 1
