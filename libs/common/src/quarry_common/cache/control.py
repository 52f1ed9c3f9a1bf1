"""What a process with caches answers to `rpc.v1.caches.*`: how they do, and that they were emptied."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from nats.aio.client import Client

from quarry_common.cache.cache import Cache
from quarry_common.cache.generations import Generations
from quarry_common.contracts.caches import (
    FORGET,
    PURGE_REDIS,
    REPORT,
    CacheForgotten,
    CacheStats,
    ForgetCached,
    InstanceCaches,
    PurgeRedis,
    RedisPurged,
    RedisUsage,
)
from quarry_common.contracts.rpc import Nothing
from quarry_common.messaging.rpc import RpcServer

USAGE_SECONDS = 0.25
"""For Redis to tell how full it is; whoever asks waits half a second for the report."""
CONCURRENCY = 4


class Counted(Protocol):
    """A cache that tells how well it does."""

    def stats(self) -> CacheStats:
        """Return what was counted."""


async def _no_redis() -> RedisUsage | None:
    return None


class CacheControl:
    """Answers for the caches of one process. A part of a service, apart from what else it answers: a process
    that has too many requests to answer can still be asked, and told.

    `forget` empties the memory for one tenant, or for all, and returns how many entries there were.
    """

    def __init__(
        self,
        connection: Client,
        service: str,
        instance: str,
        caches: Sequence[Counted],
        forget: Callable[[ForgetCached], Awaitable[int]],
        redis_usage: Callable[[], Awaitable[RedisUsage | None]] = _no_redis,
    ) -> None:
        self._service = service
        self._instance = instance
        self._caches = caches
        self._forget = forget
        self._redis_usage = redis_usage
        self.server = RpcServer(connection, service, CONCURRENCY)
        self.server.answer(REPORT, self._report, each=True)
        self.server.answer(FORGET, self._told_to_forget, each=True)

    async def run(self, stopping: asyncio.Event) -> None:
        """Answer until `stopping` is set."""
        await self.server.run(stopping)

    async def _report(self, _: Nothing) -> InstanceCaches:
        usage = None
        with suppress(TimeoutError):
            async with asyncio.timeout(USAGE_SECONDS):
                usage = await self._redis_usage()
        return InstanceCaches(self._service, self._instance, [each.stats() for each in self._caches], usage)

    async def _told_to_forget(self, asked: ForgetCached) -> CacheForgotten:
        return CacheForgotten(self._service, self._instance, await self._forget(asked))


def control_of(
    connection: Client,
    service: str,
    instance: str,
    cache: Cache,
    generations: Generations,
    caches: Sequence[Counted],
) -> CacheControl:
    """Return what answers for `caches`, all over the tiers of `cache`; one of the service empties Redis."""

    async def forget(asked: ForgetCached) -> int:
        removed = cache.purge_memory(asked.tenant_id)
        # In the same moment: what is computed from here on is kept under a name of its own.
        generations.renew(asked.tenant_id, str(asked.purge_id))
        await cache.settled()
        return removed

    async def purge_redis(asked: PurgeRedis) -> RedisPurged:
        removed = await cache.purge(asked.tenant_id)
        return RedisPurged(removed.redis, removed.complete)

    control = CacheControl(connection, service, instance, caches, forget, cache.redis_usage)
    control.server.answer(PURGE_REDIS, purge_redis)
    return control
