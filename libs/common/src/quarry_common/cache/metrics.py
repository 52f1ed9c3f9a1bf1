from prometheus_client import Counter, Gauge

HITS = Counter(
    "cache_hits_total", "Look-ups answered by a tier; `flight` is a computation shared.", ("tier", "cache")
)
MISSES = Counter("cache_misses_total", "Look-ups that no tier could answer.", ("cache",))
PAUSED = Counter(
    "cache_paused_total", "Look-ups while nothing could be cached: neither hits nor misses.", ("cache",)
)
HIT_RATE = Gauge(
    "cache_hit_rate", "Share of the look-ups of five minutes that were hits; NaN without any.", ("cache",)
)
ENTRIES = Gauge("cache_entries", "Entries that this process keeps.", ("tier",))
BYTES = Gauge("cache_bytes", "Bytes that those entries take, keys and overhead included.", ("tier",))
EVICTIONS = Counter("cache_evictions_total", "Entries forgotten to make room.", ("tier",))
BREAKER_STATE = Gauge("cache_breaker_state", "Of Redis: 0 closed, 1 half open, 2 open.")
REDIS_FAILURES = Counter(
    "cache_redis_failures_total",
    "Commands without an answer: `timeout`, `error`, or `busy` for lack of a connection.",
    ("reason",),
)
TRUSTED = Gauge("cache_trusted", "1 while what depends on content may be cached.")
LAPSES = Counter("cache_lapses_total", "Times that everything was forgotten: an event could be missing.")
SHARING = Gauge("cache_sharing", "1 while this process shares generations with others through Redis.")
