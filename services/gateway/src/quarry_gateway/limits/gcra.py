"""The generic cell rate algorithm (GCRA; ATM Forum, Traffic Management 4.1, and ITU-T I.371): pure rules.

In its form of virtual scheduling a bucket is a single moment, the theoretical arrival time: that at which
everything let through would be paid for at the bucket's rate. How far it lies ahead is the bucket's debt.

What costs more than a bucket's burst is let through when the bucket has no debt at all, and is charged in
full. So in any time no more passes than the burst (or one such cost) and what the rate gives.

Times are whole microseconds, and so is the interval between two units, rounded down: a rate is never lower
than was asked for, and higher by 0.01 % at most at 100 per second, by 1 % at 10,000.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

SECOND: Final = 1_000_000
"""In microseconds."""


class Limit(msgspec.Struct, frozen=True):
    """`burst` units at once after a rest, `per_second` in the long run; 0 per second lets none pass."""

    per_second: int
    burst: int

    @property
    def closed(self) -> bool:
        """Whether nothing ever passes."""
        return self.per_second <= 0

    @property
    def interval(self) -> int:
        """Microseconds that one unit takes to be paid for. Not for a closed limit."""
        return SECOND // self.per_second or 1

    @property
    def capacity(self) -> int:
        """The largest debt in microseconds, but for what costs more than the burst."""
        return self.burst * self.interval


def limit_of(per_second: int | None, burst: int | None) -> Limit | None:
    """Return the limit of these quotas; None is no limit. A burst that is not given is a second's worth."""
    if per_second is None:
        return None
    return Limit(per_second, per_second if burst is None else burst)


def wait(limit: Limit, debt: int, cost: int) -> int:
    """Return after how many microseconds `cost` units would pass; 0 when they pass now."""
    if debt == 0:
        return 0
    return max(0, debt - max(0, limit.capacity - cost * limit.interval))


def charge(limits: Sequence[Limit], debts: Sequence[int], cost: int, paid: int = 0) -> tuple[bool, list[int]]:
    """Return whether `cost` units pass all the buckets, and the debts then: all are charged, or none is.

    `paid` units of the same request were charged before: a bucket that owes no more than these counts as one
    without debt. The script in Redis does the same.
    """
    pairs = zip(limits, debts, strict=True)
    if any(debt > paid * limit.interval and wait(limit, debt, cost) for limit, debt in pairs):
        return False, list(debts)
    return True, [debt + cost * limit.interval for limit, debt in zip(limits, debts, strict=True)]


def remaining(limit: Limit, debt: int) -> int:
    """Return how many units would pass at once."""
    return max(0, limit.capacity - debt) // limit.interval
