from prometheus_client import Counter, Gauge

DECISIONS = Counter(
    "rate_limit_decisions_total",
    "Requests that came to a rate limit: `allowed` or `denied`, in `redis` or, without it, `local`.",
    ("outcome", "where"),
)
BREAKER_STATE = Gauge("rate_limit_breaker_state", "Of the rate limits' Redis: 0 closed, 1 half open, 2 open.")
REDIS_FAILURES = Counter(
    "rate_limit_redis_failures_total",
    "Times that Redis left rate limits to this process: `timeout` or `error`.",
    ("reason",),
)
LEASES = Counter(
    "search_quota_leases_total",
    "Questions for searches of a day's quota: `granted`, `refused`, or `failed` for lack of an answer.",
    ("outcome",),
)
LOST = Counter(
    "usage_lost_total",
    "What could not be told in time: `searches` answered, `requests` of keys.",
    ("what",),
)
