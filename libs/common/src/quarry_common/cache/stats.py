"""How well a cache does: counted since the start, and as a rate over the last five minutes."""

import math
import time
from collections import deque
from collections.abc import Callable

import msgspec

from quarry_common.cache.metrics import HIT_RATE, HITS, MISSES

WINDOW_SECONDS = 300.0
SLOT_SECONDS = 10.0


class TierStats(msgspec.Struct, frozen=True):
    """One tier. Hits are of one cache in this process; the rest is of the tier as a whole.

    The whole of Redis is the server, and whatever else is kept there.
    """

    hits: int
    entries: int
    bytes: int
    evictions: int


class CacheStats(msgspec.Struct, frozen=True):
    """One cache of one process. `redis` is None while Redis does not answer."""

    name: str
    enabled: bool
    hits: int
    misses: int
    hit_rate: float | None
    """Share of the look-ups of the last five minutes that were hits; None without any."""
    shared_computations: int
    """Look-ups answered by what another had begun to compute; they are hits."""
    memory: TierStats
    redis: TierStats | None
    breaker: str


class Tally:
    """Counts what became of look-ups, whatever the tiers did meanwhile."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: deque[list[float]] = deque()
        """Of ten seconds each: when it began, look-ups, hits."""
        self._hits = {tier: HITS.labels(tier, name) for tier in ("memory", "redis", "flight")}
        self._misses = MISSES.labels(name)
        self.hits = dict.fromkeys(self._hits, 0)
        self.misses = 0
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
