"""When a delivery is tried again."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

MINUTE, HOUR = 60.0, 3_600.0

DELAYS_SECONDS = (
    0.0, 5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR,
)  # fmt: skip
"""Before each attempt, after the one before it: those of Standard Webhooks 1.0."""
JITTER = 0.1
"""A delay is longer by up to this share, so that what failed together does not come together again."""
LONGEST_RETRY_AFTER = timedelta(hours=24)


def delay(step: int, delays: Sequence[float] = DELAYS_SECONDS) -> timedelta | None:
    """Return how long to wait before attempt `step` (0 the first), jittered; None after the last."""
    if step >= len(delays):
        return None
    return timedelta(seconds=delays[step] * (1 + JITTER * random.random()))  # noqa: S311 - no secret


def retry_after(status: int | None, headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Return before when an endpoint that answered 429 or 503 wants no attempts, 24 hours ahead at most.

    The header is in seconds or a date (RFC 9110, 10.2.3). None when it is missing, malformed or past.
    """
    if status not in {429, 503}:
        return None
    value = next((held for name, held in headers.items() if name.lower() == "retry-after"), "").strip()
    if value.isascii() and value.isdigit():
        # More digits than any bound could need; larger numbers would not fit a timedelta.
        asked = now + min(timedelta(seconds=int(value[:9])), LONGEST_RETRY_AFTER)
    else:
        try:
            asked = parsedate_to_datetime(value)
        except ValueError:
            return None
        asked = asked.replace(tzinfo=UTC) if asked.tzinfo is None else asked
    return min(asked, now + LONGEST_RETRY_AFTER) if asked > now else None
