"""The hit rate of the last five minutes, and what Prometheus is shown of it."""

import math
from uuid import uuid4

from prometheus_client import REGISTRY

from quarry_common.cache.stats import WINDOW_SECONDS, Tally


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_the_last_five_minutes_count() -> None:
    clock, name = Clock(), uuid4().hex
    tally = Tally(name, clock=clock)
    assert tally.hit_rate is None
    shown = REGISTRY.get_sample_value("cache_hit_rate", {"cache": name})
    assert shown is not None
    assert math.isnan(shown)

    for _ in range(3):
        tally.miss()
    clock.now += WINDOW_SECONDS / 2
    tally.hit("memory")
    assert tally.hit_rate == 0.25
    assert REGISTRY.get_sample_value("cache_hit_rate", {"cache": name}) == 0.25

    clock.now += WINDOW_SECONDS / 2
    assert tally.hit_rate == 1.0
    clock.now += WINDOW_SECONDS / 2
    assert tally.hit_rate is None


def test_counts_are_kept_by_tier() -> None:
    name = uuid4().hex
    tally = Tally(name)
    for tier in ("memory", "memory", "redis", "flight"):
        tally.hit(tier)
    tally.miss()

    tally.pause()

    assert tally.hits == {"memory": 2, "redis": 1, "flight": 1}
    memory = tally.memory(entries=1, size_bytes=None, evictions=0)
    assert (memory.hits, memory.misses, memory.hit_rate) == (2, 3, 0.4)
    assert REGISTRY.get_sample_value("cache_paused_total", {"cache": name}) == 1
    assert REGISTRY.get_sample_value("cache_hits_total", {"cache": name, "tier": "memory"}) == 2
    assert REGISTRY.get_sample_value("cache_misses_total", {"cache": name}) == 1
