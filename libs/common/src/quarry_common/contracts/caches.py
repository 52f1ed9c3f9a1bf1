"""What is told of caches, and how they are emptied. Every process that has one answers `rpc.v1.caches.*`."""

from uuid import UUID

import msgspec

from quarry_common.contracts.rpc import Nothing, RpcMethod


class TierStats(msgspec.Struct, frozen=True):
    """One tier of one cache. None is what cannot be told: Redis counts entries for all together."""

    hits: int
    misses: int
    """Look-ups that the tier was asked for and could not answer."""
    hit_rate: float | None
    """Share of hits; null without look-ups."""
    entries: int | None
    bytes: int | None
    evictions: int | None


class CacheStats(msgspec.Struct, frozen=True):
    """One cache, counted since its process started."""

    name: str
    enabled: bool
    hits: int
    misses: int
    hit_rate: float | None
    """Share of hits; null without look-ups."""
    recent_hit_rate: float | None
    """The same of the last five minutes."""
    paused: int
    """Look-ups while nothing could be cached; they are neither hits nor misses."""
    shared_computations: int
    """Look-ups answered by what another had begun to compute; they are hits."""
    memory: TierStats
    redis: TierStats | None
    """Null for a cache that is kept in memory only."""
    breaker: str
    """Of Redis: `closed`, `half_open`, `open`, or `off` where it is not used."""


class RedisUsage(msgspec.Struct, frozen=True):
    """What the server keeps, for whomever."""

    entries: int
    bytes: int
    evictions: int


class InstanceCaches(msgspec.Struct, frozen=True):
    """The caches of one process. `redis` is null while it does not answer."""

    service: str
    instance: str
    caches: list[CacheStats]
    redis: RedisUsage | None = None


class ForgetCached(msgspec.Struct, frozen=True):
    """Tells to forget what is in memory, of one tenant or of all. `purge_id` names the purge to everybody."""

    tenant_id: UUID | None
    purge_id: UUID


class CacheForgotten(msgspec.Struct, frozen=True):
    """What one process had in memory and has forgotten."""

    service: str
    instance: str
    entries: int


class PurgeRedis(msgspec.Struct, frozen=True):
    """Asks that the entries in Redis be removed, of one tenant or of all."""

    tenant_id: UUID | None


class RedisPurged(msgspec.Struct, frozen=True):
    """How many entries were removed, and whether those were all: Redis may fail in the middle."""

    entries: int
    complete: bool


REPORT = RpcMethod("caches", "report", Nothing, InstanceCaches)
FORGET = RpcMethod("caches", "forget", ForgetCached, CacheForgotten)
PURGE_REDIS = RpcMethod("search", "purge_redis", PurgeRedis, RedisPurged)
