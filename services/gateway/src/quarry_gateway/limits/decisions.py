"""What became of a request at its limits, and how that is told: as headers, and as an error."""

import math
from collections.abc import Sequence

import msgspec

from quarry_common.errors import RateLimitedError
from quarry_gateway.limits.buckets import Bucket, Endpoint
from quarry_gateway.limits.gcra import SECOND, Limit, remaining, wait

MAX_INTEGER = 999_999_999_999_999
"""Of structured fields (RFC 9651)."""

_TO_DO = {
    Endpoint.SEARCH: "to search",
    Endpoint.READ: "to read",
    Endpoint.WRITE: "to write",
    Endpoint.ADMIN: "to administer",
}


class Decision(msgspec.Struct, frozen=True):
    """Whether a request passes. The figures are those of the bucket that leaves the least, or refused."""

    allowed: bool
    bucket: Bucket | None = None
    """None where nothing limits the request."""
    remaining: int = 0
    """Units that would pass at once after it."""
    reset_seconds: float = 0.0
    """Time until as many as the burst would pass at once; infinite where none ever passes."""
    retry_after_seconds: float = 0.0
    """Time until it would pass; 0 when it does, infinite when it never will."""


UNLIMITED = Decision(True)


def judge(buckets: Sequence[Bucket], cost: int, allowed: bool, debts: Sequence[int]) -> Decision:
    """Return the decision, given the buckets' debts (in microseconds) after it."""
    pairs = zip(buckets, debts, strict=True)
    if allowed:
        bucket, debt = min(pairs, key=lambda pair: remaining(pair[0].limit, pair[1]))
    else:
        bucket, debt = max(pairs, key=lambda pair: wait(pair[0].limit, pair[1], cost))
    return Decision(
        allowed,
        bucket,
        remaining(bucket.limit, debt),
        debt / SECOND,
        0.0 if allowed else wait(bucket.limit, debt, cost) / SECOND,
    )


def closed(bucket: Bucket) -> Decision:
    """Return the decision of a bucket that lets nothing pass."""
    return Decision(False, bucket, 0, math.inf, math.inf)


def headers(decision: Decision) -> dict[str, str]:
    """Return the fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), and
    `Retry-After` with a refusal.

    They tell of one policy, that of the decision's bucket. `q` and `w` give its rate, as requests in the time
    in which its burst is paid for; `r` is what is left now, `t` the seconds until the whole burst is.
    """
    bucket = decision.bucket
    if bucket is None:
        return {}
    quota, window = _policy(bucket.limit)
    reset = "" if math.isinf(decision.reset_seconds) else f";t={_integer(decision.reset_seconds)}"
    fields = {
        "RateLimit-Policy": f'"{bucket.policy}";q={quota};w={window}',
        "RateLimit": f'"{bucket.policy}";r={_integer(decision.remaining)}{reset}',
    }
    if not decision.allowed and math.isfinite(decision.retry_after_seconds):
        fields["Retry-After"] = str(max(1, math.ceil(decision.retry_after_seconds)))
    return fields


def _policy(limit: Limit) -> tuple[int, int]:
    """Return how many requests come in how many seconds."""
    if limit.closed:
        return 0, 1
    window = max(1, -(-limit.burst // limit.per_second))
    return _integer(limit.per_second * window), _integer(window)


def _integer(number: float) -> int:
    """Return the integer that stands for `number` in a structured field."""
    return min(math.ceil(number), MAX_INTEGER)


def refusal(decision: Decision) -> RateLimitedError:
    """Return the error that tells of a decision not to let a request pass."""
    bucket = decision.bucket
    assert bucket is not None  # noqa: S101 - who has no limit is not refused
    limit = bucket.limit
    what = f"requests {_TO_DO[bucket.endpoint]}"
    if limit.closed:
        return RateLimitedError(
            f"The {bucket.owner.value} may send no {what}: its limit is 0 per second.",
            advice="Ask whoever administers it for a higher limit.",
        )
    return RateLimitedError(
        f"The {bucket.owner.value} may send {limit.per_second:,} {what} per second, {limit.burst:,} at once.",
        retry_after_seconds=decision.retry_after_seconds,
    )
