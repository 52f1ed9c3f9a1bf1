"""How the caches of the platform do."""

import msgspec


class CacheTier(msgspec.Struct, frozen=True):
    """One tier, memory or Redis. None is what the tier does not count."""

    hits: int
    misses: int
    hit_rate: float | None = None
    entries: int | None = None
    bytes: int | None = None
    evictions: int | None = None


class CacheCounts(msgspec.Struct, frozen=True):
    """What became of look-ups. `hit_rate` is None without any."""

    name: str
    hits: int
    misses: int
    memory: CacheTier
    redis: CacheTier | None = None
    hit_rate: float | None = None
    paused: int = 0
    shared_computations: int = 0
    breaker: str | None = None
    recent_hit_rate: float | None = None


class RedisUsage(msgspec.Struct, frozen=True):
    """What the Redis server keeps, for whomever."""

    entries: int
    bytes: int
    evictions: int


class CacheInstance(msgspec.Struct, frozen=True):
    """The caches of one process."""

    service: str
    instance: str
    caches: list[CacheCounts]
    redis: RedisUsage | None = None


class CacheReport(msgspec.Struct, frozen=True):
    """The caches of every process that answered in time, and by name of all together."""

    answered: int
    instances: list[CacheInstance]
    caches: list[CacheCounts]
    total: CacheCounts
    redis: RedisUsage | None = None


class CacheForgotten(msgspec.Struct, frozen=True):
    """How many entries one process has forgotten."""

    service: str
    instance: str
    entries: int


class CachePurge(msgspec.Struct, frozen=True):
    """What was forgotten. `tenant` is None for everybody's; while it is not `complete`, purge again."""

    answered: int
    memory_entries: int
    redis_entries: int
    complete: bool
    tenant: str | None = None
    instances: list[CacheForgotten] = []
