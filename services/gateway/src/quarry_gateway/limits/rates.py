"""Rate limits: whether a request may pass now, by buckets that all gateways share."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from quarry_common.cache.connection import open_redis
from quarry_gateway.limits.buckets import Bucket
from quarry_gateway.limits.decisions import UNLIMITED, Decision, closed, judge
from quarry_gateway.limits.ledger import Ledger
from quarry_gateway.limits.metrics import DECISIONS
from quarry_gateway.limits.shared import SharedBuckets
from quarry_gateway.settings import GatewaySettings

_COUNTS = {
    (allowed, shared): DECISIONS.labels("allowed" if allowed else "denied", "redis" if shared else "local")
    for allowed in (True, False)
    for shared in (True, False)
}


class Rates:
    """Charges requests to buckets in Redis, or in this process's memory while Redis does not answer.

    `shared` None: nothing is limited.
    """

    def __init__(self, shared: SharedBuckets | None, ledger: Ledger) -> None:
        self._shared = shared
        self._ledger = ledger

    async def take(self, buckets: Sequence[Bucket], cost: int = 1, paid: int = 0) -> Decision:
        """Charge `cost` units to all the buckets if they pass each of them, or to none; return the decision.

        `paid` units of the same request were charged before. What it costs in all may be beyond a bucket's
        burst when the bucket has no other debt. Without buckets nothing is asked.
        Raises nothing, and waits for Redis twice `REDIS_TIMEOUT_SECONDS` at most.
        """
        shared = self._shared
        if shared is None or not buckets:
            return UNLIMITED
        for bucket in buckets:
            if bucket.limit.closed:
                _COUNTS[False, False].inc()
                return closed(bucket)
        ledger, limits = self._ledger, [bucket.limit for bucket in buckets]
        names = [bucket.name for bucket in buckets]
        asked_at, term = ledger.now(), shared.term
        answer = await shared.charge(names, limits, ledger.owed(names, term), cost, paid)
        if answer is None:
            allowed, debts = ledger.charge(names, limits, cost, paid)
        else:
            allowed, debts = answer
            ledger.follow(names, debts, asked_at, term)
        _COUNTS[allowed, answer is not None].inc()
        return judge(buckets, cost + paid, allowed, debts)


@asynccontextmanager
async def open_rates(settings: GatewaySettings) -> AsyncIterator[Rates]:
    """Yield the rate limits, connected to Redis if it answers; they need it neither to start nor to work."""
    if not settings.rate_limits_enabled:
        yield Rates(None, Ledger())
        return
    shared = SharedBuckets(
        open_redis(settings, connections=1),
        settings.cache_prefix,
        answer_seconds=settings.redis_timeout_seconds,
    )
    running = asyncio.create_task(shared.run())
    try:
        await shared.tried()
        yield Rates(shared, Ledger())
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
