"""When a failed request is sent again, how long to wait before, and when to stop."""

import math
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

TRANSIENT_STATUSES: Final = frozenset({429, 502, 503, 504})
KEY_IN_FLIGHT: Final = "idempotency_key_in_flight"
"""The one conflict that passes: the first request under the same key is still being worked on."""

RATE_LIMITED: Final = "rate_limited"
"""Too many requests came at once; nothing of this one was done. It passes when `Retry-After` says."""
QUOTA_EXCEEDED: Final = "quota_exceeded"
"""A counted limit is reached, which may pass at the end of the day, or never."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """At most `attempts` sends, and at most `budget_seconds` spent waiting between them.

    `longest_delay_seconds` bounds what we wait of our own accord, and what we wait for a used-up quota.
    """

    attempts: int = 6
    first_delay_seconds: float = 0.25
    longest_delay_seconds: float = 10.0
    budget_seconds: float = 60.0

    def delay_seconds(
        self, failures: int, waited_seconds: float, retry_after_seconds: float | None
    ) -> float | None:
        """Return how long to wait after the given number of failures, or None to stop.

        The wait doubles from failure to failure, with jitter so that many clients do not come back at
        once. A server's `Retry-After` is never undercut: when it does not fit the budget, we stop now.
        """
        if failures >= self.attempts:
            return None
        longest = min(self.first_delay_seconds * 2 ** (failures - 1), self.longest_delay_seconds)
        delay = random.uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret
        if retry_after_seconds is not None:
            delay = retry_after_seconds + delay / 10
        return delay if waited_seconds + delay <= self.budget_seconds else None


PROMPT: Final = RetryPolicy(attempts=3, budget_seconds=5.0)
"""For a person who waits at a prompt."""
PATIENT: Final = RetryPolicy(attempts=30, budget_seconds=180.0)
"""For long runs, which outlive a restart of the platform."""


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None when it is absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now or datetime.now(UTC))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _until(http_date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(http_date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
