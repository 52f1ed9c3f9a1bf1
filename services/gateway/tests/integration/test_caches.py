"""What operators see of the caches of every process, and who may empty which."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from quarry_common.cache.control import CacheControl
from quarry_common.contracts.caches import (
    PURGE_REDIS,
    CacheStats,
    ForgetCached,
    PurgeRedis,
    RedisPurged,
    RedisUsage,
    TierStats,
)
from quarry_common.contracts.tenancy import Scope
from quarry_common.messaging import broker
from quarry_common.settings import NatsSettings


class Searcher:
    """A search service's caches: tells what it is told to, and notes what it shall forget."""

    def __init__(self, hits: int, misses: int) -> None:
        self.hits, self.misses = hits, misses
        self.log: list[tuple[str, UUID | None]] = []
        self.fails = False

    def stats(self) -> CacheStats:
        memory = TierStats(self.hits, self.misses, None, 3, 300, 1)
        redis = TierStats(0, self.misses, None, None, None, None)
        return CacheStats(
            "answers", True, self.hits, self.misses, None, None, 5, 0, memory, redis, "half_open"
        )

    async def forget(self, asked: ForgetCached) -> int:
        if self.fails:
            raise RuntimeError
        self.log.append(("memory", asked.tenant_id))
        return 3

    async def purge_redis(self, asked: PurgeRedis) -> RedisPurged:
        self.log.append(("redis", asked.tenant_id))
        return RedisPurged(7, complete=True)

    async def usage(self) -> RedisUsage:
        return RedisUsage(70, 7000, 0)


@asynccontextmanager
async def running(nats_url: str, *searchers: Searcher) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    async with broker.connect(NatsSettings(nats_url=nats_url), "test") as bus:
        tasks = []
        for number, searcher in enumerate(searchers):
            control = CacheControl(bus, "search", f"s{number}", [searcher], searcher.forget, searcher.usage)
            control.server.answer(PURGE_REDIS, searcher.purge_redis)
            tasks.append(asyncio.create_task(control.run(stopping)))
        await asyncio.sleep(0)
        await bus.flush()
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*tasks)


@pytest.fixture
def operator(http, backend):
    http.headers["X-API-Key"] = backend.key(operator=True)
    return http


async def test_every_instance_tells_of_its_caches_and_all_are_added_up(operator, nats_url) -> None:
    async with running(nats_url, Searcher(3, 1), Searcher(0, 0)):
        told = (await operator.get("/api/admin/cache")).json()

    assert told["answered"] == 3
    names = [(each["service"], each["instance"]) for each in told["instances"]]
    assert names[1:] == [("search", "s0"), ("search", "s1")]
    assert {each["name"] for each in told["instances"][0]["caches"]} == {
        "domains",
        "principals",
        "signing_keys",
        "tenants",
    }
    assert told["instances"][2]["caches"][0]["hit_rate"] is None
    assert told["instances"][1]["caches"][0]["breaker"] == "half_open"
    answers = {each["name"]: each for each in told["caches"]}["answers"]
    assert (answers["hits"], answers["misses"], answers["hit_rate"]) == (3, 1, 0.75)
    assert (answers["paused"], answers["memory"]["entries"], answers["memory"]["bytes"]) == (10, 6, 600)
    assert (answers["redis"]["misses"], answers["redis"]["entries"]) == (1, None)
    assert told["total"]["hits"] == sum(each["hits"] for each in told["caches"])
    assert told["redis"] == {"entries": 70, "bytes": 7000, "evictions": 0}


async def test_principals_are_counted(operator) -> None:
    async def principals() -> dict[str, int]:
        told = (await operator.get("/api/admin/cache")).json()
        return next(each for each in told["caches"] if each["name"] == "principals")

    before = await principals()
    after = await principals()

    assert (after["hits"], after["misses"]) == (before["hits"] + 1, before["misses"])


async def test_only_operators_see_the_caches(client) -> None:
    assert (await client.get("/api/admin/cache")).status_code == 403


async def test_a_tenant_empties_its_own_in_memory_then_redis_then_memory(client, backend, nats_url) -> None:
    searchers = [Searcher(0, 0), Searcher(0, 0)]
    async with running(nats_url, *searchers):
        done = (await client.delete("/api/admin/cache")).json()

    acme = backend.acme.id
    for searcher in searchers:
        assert [step for step in searcher.log if step[0] == "memory"] == [("memory", acme)] * 2
    (scanned,) = [searcher for searcher in searchers if ("redis", acme) in searcher.log]
    assert scanned.log[1] == ("redis", acme)
    assert (done["tenant"], done["redis_entries"], done["complete"]) == ("acme", 7, True)
    assert done["memory_entries"] == 12 + 1  # the key with which it was asked for, too
    assert done["answered"] == len(done["instances"]) == 3


async def test_what_a_gateway_knew_of_the_tenants_keys_is_forgotten(client, backend, nats_url) -> None:
    await client.get("/api/jobs")
    assert backend.resolved == 1

    async with running(nats_url, Searcher(0, 0)):
        await client.delete("/api/admin/cache")
    await client.get("/api/jobs")

    assert backend.resolved == 2


@pytest.mark.parametrize(
    ("headers", "query", "whose"),
    [
        ({}, "", None),
        ({}, "?tenant=other", "other"),
        ({"X-Tenant": "other"}, "", "other"),
        ({"X-Tenant": "other"}, "?tenant=other", "other"),
    ],
)
async def test_an_operator_empties_one_tenants_or_all(
    operator, backend, nats_url, headers, query, whose
) -> None:
    searcher = Searcher(0, 0)
    async with running(nats_url, searcher):
        answer = await operator.delete(f"/api/admin/cache{query}", headers=headers)

    assert (answer.status_code, answer.json()["tenant"]) == (200, whose)
    assert {tenant for _, tenant in searcher.log} == {backend.other.id if whose else None}
    (act,) = [act for act in backend.acts if act.action == "cache.purged"]
    assert (act.target, act.after["redis_entries"], act.actor.kind) == (whose or "*", 7, "operator")


@pytest.mark.parametrize(
    ("key", "headers", "query", "status"),
    [
        ("tenant", {}, "?tenant=other", 404),
        ("tenant", {}, "?tenant=none", 404),
        ("reader", {}, "", 403),
        ("operator", {"X-Tenant": "acme"}, "?tenant=other", 422),
        ("operator", {}, "?tenant=none", 404),
        ("operator", {}, "?tenant=No+Slug", 422),
        ("operator", {}, "?tennant=acme", 422),
    ],
)
async def test_nobody_empties_what_is_not_theirs(
    http, backend, nats_url, key, headers, query, status
) -> None:
    keys = {
        "tenant": backend.key,
        "reader": lambda: backend.key(Scope.SEARCH),
        "operator": lambda: backend.key(operator=True),
    }
    http.headers["X-API-Key"] = keys[key]()
    searcher = Searcher(0, 0)
    async with running(nats_url, searcher):
        answer = await http.delete(f"/api/admin/cache{query}", headers=headers)

    assert (answer.status_code, searcher.log) == (status, [])


async def test_who_ceases_to_answer_makes_it_incomplete(operator, nats_url) -> None:
    class Dying(Searcher):
        async def forget(self, asked: ForgetCached) -> int:
            count = await super().forget(asked)
            self.fails = True
            return count

    async with running(nats_url, Searcher(0, 0), Dying(0, 0)):
        done = (await operator.delete("/api/admin/cache")).json()

    assert (done["answered"], done["complete"]) == (2, False)


async def test_without_a_search_service_it_is_told(operator) -> None:
    assert (await operator.delete("/api/admin/cache")).status_code == 503
