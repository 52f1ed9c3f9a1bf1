"""How well a cache does: counted since the start, and as a rate over the last five minutes."""

import math
import time
from collections import deque
from collections.abc import Callable

from quarry_common.cache.metrics import HIT_RATE, HITS, MISSES, PAUSED
from quarry_common.contracts.caches import CacheStats, TierStats

WINDOW_SECONDS = 300.0
SLOT_SECONDS = 10.0


def share(hits: int, misses: int) -> float | None:
    """Return the share of hits; None without look-ups."""
    return hits / (hits + misses) if hits + misses else None


class Tally:
    """Counts what became of look-ups, whatever the tiers did meanwhile."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: deque[list[float]] = deque()
        """Of ten seconds each: when it began, look-ups, hits."""
        self._hits = {tier: HITS.labels(tier, name) for tier in ("memory", "redis", "flight")}
        self._misses = MISSES.labels(name)
        self._paused = PAUSED.labels(name)
        self.name = name
        self.hits = dict.fromkeys(self._hits, 0)
        self.misses = 0
        self.redis_misses = 0
        """Look-ups that Redis was asked for in vain; what became of them then is counted besides."""
        self.paused = 0
        HIT_RATE.labels(name).set_function(self._gauge)

    def hit(self, tier: str) -> None:
        """A look-up was answered by `tier`."""
        self.hits[tier] += 1
        self._hits[tier].inc()
        self._count(1)

    def miss(self) -> None:
        """A look-up was not answered."""
        self.misses += 1
        self._misses.inc()
        self._count(0)

    def pause(self) -> None:
        """A look-up came while nothing could be cached."""
        self.paused += 1
        self._paused.inc()

    def stats(self, memory: TierStats, redis: TierStats | None, *, enabled: bool, breaker: str) -> CacheStats:
        """Return the counts, with those of the tiers."""
        hits = sum(self.hits.values())
        return CacheStats(
            name=self.name,
            enabled=enabled,
            hits=hits,
            misses=self.misses,
            hit_rate=share(hits, self.misses),
            recent_hit_rate=self.hit_rate,
            paused=self.paused,
            shared_computations=self.hits["flight"],
            memory=memory,
            redis=redis,
            breaker=breaker,
        )

    def memory(self, *, entries: int, size_bytes: int | None, evictions: int) -> TierStats:
        """Return how the memory did, with what it holds."""
        hits = self.hits["memory"]
        misses = sum(self.hits.values()) + self.misses - hits
        return TierStats(hits, misses, share(hits, misses), entries, size_bytes, evictions)

    def redis(self) -> TierStats:
        """Return how Redis did."""
        hits = self.hits["redis"]
        return TierStats(hits, self.redis_misses, share(hits, self.redis_misses), None, None, None)

    @property
    def hit_rate(self) -> float | None:
        """Share of hits in the last five minutes; None without look-ups."""
        self._forget_old()
        asked = sum(slot[1] for slot in self._slots)
        return sum(slot[2] for slot in self._slots) / asked if asked else None

    def _gauge(self) -> float:
        rate = self.hit_rate
        return math.nan if rate is None else rate

    def _count(self, hits: int) -> None:
        now = self._clock()
        if not self._slots or now - self._slots[-1][0] >= SLOT_SECONDS:
            self._forget_old()
            self._slots.append([now, 0, 0])
        self._slots[-1][1] += 1
        self._slots[-1][2] += hits

    def _forget_old(self) -> None:
        oldest = self._clock() - WINDOW_SECONDS
        while self._slots and self._slots[0][0] <= oldest:
            self._slots.popleft()
