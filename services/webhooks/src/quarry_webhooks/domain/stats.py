"""How an endpoint has done: rates, and percentiles from counts by duration."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from quarry_common.contracts.webhooks import Stats, StatsHour

BASE: Final = 1.1
"""Bucket n holds durations above BASE^(n-1) and up to BASE^n milliseconds."""


class Hour(msgspec.Struct, frozen=True):
    """What was counted in an hour; `answers` are attempts that were answered, by bucket."""

    hour: datetime
    delivered: int
    failed: int
    answers: Mapping[int, int] = {}


def summed(since: datetime, hours: list[Hour]) -> Stats:
    """Return the sum, as of an hour that begins at `since`, and each hour."""
    answers: dict[int, int] = {}
    for hour in hours:
        for bucket, count in hour.answers.items():
            answers[bucket] = answers.get(bucket, 0) + count
    total = Hour(since, sum(hour.delivered for hour in hours), sum(hour.failed for hour in hours), answers)
    return Stats(_shown(total), [_shown(hour) for hour in hours])


def percentile(answers: Mapping[int, int], share: float) -> float | None:
    """Return the milliseconds within which `share` of the answers came, at most a tenth too many."""
    count = sum(answers.values())
    if not count:
        return None
    wanted, reached = math.ceil(share * count), 0
    for bucket in sorted(answers):
        reached += answers[bucket]
        if reached >= wanted:
            break
    return round(BASE**bucket, 2)


def _shown(hour: Hour) -> StatsHour:
    attempts = hour.delivered + hour.failed
    return StatsHour(
        hour=hour.hour,
        attempts=attempts,
        delivered=hour.delivered,
        failed=hour.failed,
        success_rate=round(hour.delivered / attempts, 6) if attempts else None,
        p50_ms=percentile(hour.answers, 0.5),
        p95_ms=percentile(hour.answers, 0.95),
    )
