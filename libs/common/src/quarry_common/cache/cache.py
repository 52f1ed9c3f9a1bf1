"""The cache: this process's memory first, then Redis. What goes wrong in either is a miss, never an error.

async with open_cache(settings, "search") as cache:
    answer = await cache.get_or_compute(tenant_id, key, compute, generation=generations.generation(tenant_id))
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import msgspec

from quarry_common.cache.connection import open_redis
from quarry_common.cache.flights import Flights
from quarry_common.cache.keys import (
    UNCHANGING,
    EntryKey,
    Generation,
    entry_key,
    everything,
    memory_pattern,
    redis_pattern,
)
from quarry_common.cache.memory import MemoryTier
from quarry_common.cache.settings import CacheSettings
from quarry_common.cache.shared import AwayError, RedisTier
from quarry_common.cache.stats import Tally
from quarry_common.contracts.caches import CacheStats, RedisUsage

LOCK_SECONDS = 5.0
"""After it another process computes what the holder of the lock did not finish."""
WAIT_SECONDS = 2.0
"""For what another process computes; then it is computed here as well."""
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.1
INVALIDATION_SECONDS = 30.0


class Invalidated(msgspec.Struct, frozen=True):
    """What an invalidation removed. It is not `complete` when Redis failed in the middle of it."""

    memory: int
    redis: int
    complete: bool


class Cache:
    """The entries of one name. Values are bytes; a tenant is its UUID, `PLATFORM_TENANT` the platform itself.

    `generation` says which state of the tenant's content an entry belongs to (see `Generations`); None means
    that there is no trustworthy one now: nothing is read and nothing is kept. Methods raise `ValueError` for
    a key of more than 1,024 characters, and no error of Redis.
    """

    def __init__(
        self, settings: CacheSettings, name: str, memory: MemoryTier, redis: RedisTier | None
    ) -> None:
        self._settings = settings
        self._name = name
        self._memory = memory
        self._redis = redis
        self._flights: Flights[bytes] = Flights()
        self._tally = Tally(name)

    def named(self, name: str) -> "Cache":
        """Return a cache of another name over the same tiers."""
        return Cache(self._settings, name, self._memory, self._redis)

    async def get(
        self, tenant: UUID, key: str, *, generation: Generation | None = UNCHANGING
    ) -> bytes | None:
        """Return the value, or None."""
        where = self._where(tenant, key, generation)
        if where is None:
            self.paused()
            return None
        value = await self._look_up(where)
        if value is None:
            self._tally.miss()
        return value

    async def set(
        self,
        tenant: UUID,
        key: str,
        value: bytes,
        *,
        ttl_seconds: float | None = None,
        generation: Generation | None = UNCHANGING,
    ) -> None:
        """Keep `value` for `ttl_seconds` (CACHE_DEFAULT_TTL_SECONDS by default)."""
        where = self._where(tenant, key, generation)
        if where is None:
            return
        ttl_seconds = self._settings.cache_default_ttl_seconds if ttl_seconds is None else ttl_seconds
        self._memory.set(where, value, ttl_seconds)
        if self._redis is not None and where.shared:
            with suppress(AwayError):
                await self._redis.write(where, value, ttl_seconds)

    async def delete(self, tenant: UUID, key: str, *, generation: Generation | None = UNCHANGING) -> None:
        """Forget one entry in this process and in Redis."""
        where = self._where(tenant, key, generation)
        if where is None:
            return
        self._memory.delete(where)
        if self._redis is not None and where.shared:
            with suppress(AwayError):
                await self._redis.delete(where)

    async def invalidate_pattern(self, tenant: UUID, pattern: str) -> Invalidated:
        """Forget the tenant's entries of this cache whose key fits `pattern`, in every generation.

        `*` stands for any characters, every other character for itself. What other processes keep in memory
        stays there for its time.
        """
        return await self._invalidate(tenant, self._name, pattern)

    async def purge(self, tenant: UUID | None) -> Invalidated:
        """Forget everything of the tenant, or of all of them, whatever the cache's name."""
        return await self._invalidate(tenant, None, "*")

    def purge_memory(self, tenant: UUID | None) -> int:
        """Forget what this process's memory keeps of the tenant, or of all; return how many entries.

        What is being computed or read meanwhile is not kept.
        """
        return self._purge_memory(tenant, None, "*")

    async def settled(self) -> None:
        """Return when what was on its way to Redis has arrived there, or failed to."""
        if self._redis is not None:
            await self._redis.settled()

    async def get_or_compute(
        self,
        tenant: UUID,
        key: str,
        compute: Callable[[], Awaitable[bytes]],
        *,
        ttl_seconds: float | None = None,
        generation: Generation | None = UNCHANGING,
        wait_seconds: float = WAIT_SECONDS,
    ) -> bytes:
        """Return the value, computed at most once at a time by all processes together.

        `generation` has to be read before. An error of `compute` reaches all who wait for it in this process
        and is not kept. Another process's computation is waited for `wait_seconds`, then done here as well.
        """
        where = self._where(tenant, key, generation)
        if where is None:
            self.paused()
            return await compute()
        value = self._memory.get(where)
        if value is not None:
            self._tally.hit("memory")
            return value
        place = (tenant, where.memory)
        if self._flights.has(place):
            self._tally.hit("flight")
        return await self._flights.join(place, lambda: self._fetch(where, compute, ttl_seconds, wait_seconds))

    def stats(self) -> CacheStats:
        """Return how well this cache does in this process."""
        usage = self._memory.usage(self._name)
        return self._tally.stats(
            self._tally.memory(entries=usage.entries, size_bytes=usage.size_bytes, evictions=usage.evictions),
            None if self._redis is None else self._tally.redis(),
            enabled=self._settings.cache_enabled,
            breaker="off" if self._redis is None else self._redis.breaker.state.name.lower(),
        )

    async def redis_usage(self) -> RedisUsage | None:
        """Return what the Redis server keeps, for whomever; None while it does not answer."""
        if self._redis is None:
            return None
        try:
            return await self._redis.usage()
        except AwayError:
            return None

    def paused(self) -> None:
        """Count a look-up that was left out because nothing may be cached now."""
        # A cache that is switched off has nothing to wait for.
        if self._settings.cache_enabled:
            self._tally.pause()

    def forget(self, tenant: UUID, generation: str) -> None:
        """Forget what this process's memory keeps of one generation, whatever the cache's name."""
        self._memory.forget(tenant, generation)

    def forget_all(self) -> None:
        """Forget what this process's memory keeps."""
        self._memory.clear()

    def _where(self, tenant: UUID, key: str, generation: Generation | None) -> EntryKey | None:
        if generation is None or not self._settings.cache_enabled:
            return None
        return entry_key(self._settings.cache_prefix, tenant, self._name, key, generation)

    async def _look_up(self, where: EntryKey) -> bytes | None:
        value = self._memory.get(where)
        if value is not None:
            self._tally.hit("memory")
            return value
        if self._redis is None or not where.shared:
            return None
        era = self._memory.era
        try:
            found = await self._redis.read(where)
        except AwayError:
            return None
        if found.value is None:
            self._tally.redis_misses += 1
            return None
        self._tally.hit("redis")
        if era == self._memory.era:
            self._memory.set(where, found.value, found.ttl_seconds)
        return found.value

    async def _fetch(
        self,
        where: EntryKey,
        compute: Callable[[], Awaitable[bytes]],
        ttl_seconds: float | None,
        wait_seconds: float,
    ) -> bytes:
        claim, era = secrets.token_hex(8), self._memory.era
        value, claimed = await self._claim(where, claim, wait_seconds)
        if value is not None:
            self._tally.hit("redis")
            return value
        self._tally.miss()
        kept = False
        try:
            value = await compute()
            kept = era == self._memory.era
        finally:
            if claimed and not kept and self._redis is not None:
                # The next who wants it need not wait for the lock to end by itself.
                with suppress(AwayError):
                    await self._redis.release(where, claim)
        if not kept:
            return value
        ttl_seconds = self._settings.cache_default_ttl_seconds if ttl_seconds is None else ttl_seconds
        self._memory.set(where, value, ttl_seconds)
        if self._redis is not None and where.shared:
            # Whoever asked has waited long enough.
            self._redis.write_soon(where, value, ttl_seconds, claim if claimed else None)
        return value

    async def _claim(self, where: EntryKey, claim: str, wait_seconds: float) -> tuple[bytes | None, bool]:
        """Return the value from Redis, or whether the lock was taken; neither when the wait was in vain."""
        if self._redis is None or not where.shared:
            return None, False
        now = asyncio.get_running_loop().time
        deadline, pause, asked, era = now() + wait_seconds, FIRST_PAUSE_SECONDS, False, self._memory.era
        while True:
            try:
                found = await self._redis.read(where, claim, LOCK_SECONDS)
            except AwayError:
                return None, False
            if found.value is not None:
                if era == self._memory.era:
                    self._memory.set(where, found.value, found.ttl_seconds)
                return found.value, False
            # Waiting for another process is one look-up still.
            self._tally.redis_misses += not asked
            asked = True
            if found.claimed or now() >= deadline:
                return None, found.claimed
            await asyncio.sleep(min(pause, max(0.0, deadline - now())))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _purge_memory(self, tenant: UUID | None, name: str | None, pattern: str) -> int:
        if tenant is None:
            return self._memory.clear()
        return self._memory.invalidate(tenant, memory_pattern(name, pattern))

    async def _invalidate(self, tenant: UUID | None, name: str | None, pattern: str) -> Invalidated:
        removed = self._purge_memory(tenant, name, pattern)
        if self._redis is None:
            return Invalidated(removed, 0, complete=True)
        prefix = self._settings.cache_prefix
        glob = everything(prefix) if tenant is None else redis_pattern(prefix, tenant, name, pattern)
        shared = cursor = 0
        try:
            async with asyncio.timeout(INVALIDATION_SECONDS):
                while True:
                    cursor, gone = await self._redis.scan(cursor, glob)
                    shared += gone
                    if not cursor:
                        return Invalidated(removed, shared, complete=True)
        except (AwayError, TimeoutError):
            return Invalidated(removed, shared, complete=False)


@asynccontextmanager
async def open_cache(settings: CacheSettings, name: str) -> AsyncIterator[Cache]:
    """Yield a cache with tiers of its own; one process opens one, and takes others from it by `named`."""
    memory = MemoryTier(settings.cache_max_memory_items, settings.cache_max_memory_bytes)
    if not settings.cache_enabled:
        yield Cache(settings, name, memory, None)
        return
    redis = RedisTier(
        open_redis(settings, connections=settings.redis_max_connections + 1),
        f"{settings.cache_prefix}probe",
        connections=settings.redis_max_connections,
        turn_seconds=settings.redis_timeout_seconds,
        answer_seconds=settings.redis_connect_timeout_seconds + settings.redis_timeout_seconds,
    )
    try:
        yield Cache(settings, name, memory, redis)
    finally:
        await redis.close()
