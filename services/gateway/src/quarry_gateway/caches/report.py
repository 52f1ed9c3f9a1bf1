"""The caches of all processes, as `GET /api/admin/cache` tells of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from quarry_common.cache.stats import share
from quarry_common.contracts.caches import CacheStats, InstanceCaches, RedisUsage, TierStats


class CacheTotals(msgspec.Struct, frozen=True):
    """The caches of one name in all processes together, or of every name."""

    name: str
    hits: int
    misses: int
    hit_rate: float | None
    """Share of hits; null without look-ups."""
    paused: int
    shared_computations: int
    memory: TierStats
    redis: TierStats | None


class CacheReport(msgspec.Struct, frozen=True):
    """The caches of every process that answered in time; one that did not is not there."""

    answered: int
    instances: list[InstanceCaches]
    caches: list[CacheTotals]
    """By name."""
    total: CacheTotals
    """Of all names."""
    redis: RedisUsage | None
    """What the Redis server keeps, for whomever; null when nobody could tell."""


def report(instances: Iterable[InstanceCaches]) -> CacheReport:
    """Add up what the processes told."""
    told = sorted(instances, key=lambda each: (each.service, each.instance))
    by_name: dict[str, list[CacheStats]] = defaultdict(list)
    for each in told:
        for cache in each.caches:
            by_name[cache.name].append(cache)
    return CacheReport(
        answered=len(told),
        instances=told,
        caches=[_totals(name, by_name[name]) for name in sorted(by_name)],
        total=_totals("*", [cache for caches in by_name.values() for cache in caches]),
        redis=next((each.redis for each in told if each.redis is not None), None),
    )


def _totals(name: str, caches: Sequence[CacheStats]) -> CacheTotals:
    hits, misses = sum(each.hits for each in caches), sum(each.misses for each in caches)
    redis = [each.redis for each in caches if each.redis is not None]
    return CacheTotals(
        name=name,
        hits=hits,
        misses=misses,
        hit_rate=share(hits, misses),
        paused=sum(each.paused for each in caches),
        shared_computations=sum(each.shared_computations for each in caches),
        memory=_together([each.memory for each in caches]),
        redis=_together(redis) if redis else None,
    )


def _together(tiers: Sequence[TierStats]) -> TierStats:
    hits, misses = sum(each.hits for each in tiers), sum(each.misses for each in tiers)
    return TierStats(
        hits,
        misses,
        share(hits, misses),
        _sum(each.entries for each in tiers),
        _sum(each.bytes for each in tiers),
        _sum(each.evictions for each in tiers),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None when nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
