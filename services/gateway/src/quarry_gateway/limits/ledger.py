"""Buckets in this process's memory: what counts while Redis is away."""

import math
import time
from collections.abc import Callable, Sequence

from quarry_common.cache.lru import Lru
from quarry_gateway.limits.gcra import SECOND, Limit, charge

MAX_BUCKETS = 20_000


class _Bucket:
    __slots__ = ("paid_at", "term")

    def __init__(self) -> None:
        self.paid_at = 0
        self.term = 0


class Ledger:
    """The theoretical arrival times of buckets, in microseconds of this process's `clock` (seconds).

    At most `max_buckets` are kept; the least recently used are forgotten, which leaves them without debt.

    While Redis answers, buckets only follow what it says, so that they go on from there without it. A *term*
    is the life of one connection to it, counted from 1. What a bucket owes from another term is told to Redis
    once: it may have been charged here meanwhile, and Redis may have come back empty.
    """

    def __init__(
        self, max_buckets: int = MAX_BUCKETS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._buckets: Lru[str, _Bucket] = Lru(max_buckets)

    def now(self) -> int:
        """Return the time in microseconds."""
        return int(self._clock() * SECOND)

    def charge(
        self, names: Sequence[str], limits: Sequence[Limit], cost: int, paid: int = 0
    ) -> tuple[bool, list[int]]:
        """Return whether `cost` units pass all the buckets, and their debts then. `paid` units of the same
        request were charged before."""
        now = self.now()
        buckets = [self._bucket(name) for name in names]
        allowed, debts = charge(limits, [max(0, bucket.paid_at - now) for bucket in buckets], cost, paid)
        for bucket, debt in zip(buckets, debts, strict=True):
            bucket.paid_at, bucket.term = now + debt, 0
        return allowed, debts

    def owed(self, names: Sequence[str], term: int) -> list[int]:
        """Return the debts that Redis may not know of in this term."""
        now = self.now()
        buckets = [self._bucket(name) for name in names]
        return [0 if bucket.term == term else max(0, bucket.paid_at - now) for bucket in buckets]

    def follow(self, names: Sequence[str], debts: Sequence[int], asked_at: int, term: int) -> None:
        """Take over what Redis answered to a question asked at `asked_at`."""
        for name, debt in zip(names, debts, strict=True):
            bucket = self._bucket(name)
            # Answers of the same bucket may be taken over in another order than they were given.
            bucket.paid_at = max(bucket.paid_at, asked_at + debt)
            bucket.term = term

    def _bucket(self, name: str) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = _Bucket()
            self._buckets.set(name, bucket, math.inf)
        return bucket
