"""Rules of the daily search quota: how many searches a gateway is leased, and when what is told of it."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.contracts.events import EventData, QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.usage import (
    LeaseSearches,
    Quota,
    ReportSearches,
    SearchTally,
    SettleSearches,
    UsageRange,
)
from quarry_common.errors import FieldError
from quarry_tenants.domain.checks import refuse

SHARE: Final = 16
"""A lease is at most this part of what remains: many gateways find something, and blocks shrink to one."""
THRESHOLD_PERCENT: Final = 80
CLOCK_SKEW: Final = timedelta(hours=1)
"""By which a gateway's clock may differ; nobody answers a search of a day that has been over for longer."""
MAX_SEARCHES: Final = 1_000_000_000
"""In one request."""
MAX_DAYS: Final = 1_100
MAX_TALLIES: Final = 5_000
"""In one report."""


class CountedDay(msgspec.Struct, frozen=True):
    """A day's searches. Those answered are leased ones: there are never more of them."""

    leased: int = 0
    """Granted and not given back."""
    answered: int = 0
    told: int = 0
    """Percentage of the quota that was told last."""


def granted(limit: int | None, leased: int, wanted: int, needed: int = 1) -> int:
    """Return how many searches are granted of a quota of which `leased` are taken; None is no limit.

    Fewer than are `needed` would be of no use to whoever asks, a batch for one: then it is none.
    """
    if limit is None:
        return wanted
    remaining = limit - leased
    if remaining < max(1, needed):
        return 0
    return min(wanted, max(1, needed, remaining // SHARE))


def leased(day: CountedDay, request: LeaseSearches) -> tuple[CountedDay, int]:
    """Return the day after a lease, and how many searches were granted."""
    answered = day.answered + request.answered
    taken = max(day.leased, answered)
    grant = granted(request.limit, taken, request.wanted, request.needed)
    return msgspec.structs.replace(day, leased=taken + grant, answered=answered), grant


def settled(day: CountedDay, request: SettleSearches) -> CountedDay:
    """Return the day after searches were given back."""
    answered = day.answered + request.answered
    # A lease that was taken for lost may be settled after all: what it gives back is counted already.
    return msgspec.structs.replace(day, leased=max(day.leased - request.unused, answered), answered=answered)


def merged(tallies: Iterable[SearchTally]) -> list[SearchTally]:
    """Return one tally for each tenant and day, in their order; its limit is the last that is given."""
    answered: dict[tuple[UUID, date], int] = defaultdict(int)
    limits: dict[tuple[UUID, date], int | None] = {}
    for tally in tallies:
        place = tally.tenant_id, tally.day
        answered[place] += tally.answered
        limits[place] = limits.get(place) if tally.limit is None else tally.limit
    return [SearchTally(*place, limits[place], answered[place]) for place in sorted(answered)]


def told(day: CountedDay, limit: int | None, *, refused: bool) -> tuple[CountedDay, list[EventData]]:
    """Return the day with what has been told of it, and what is to be told now; each once a day.

    The threshold follows the answered searches: a block that was leased and is not used yet does not reach
    it. The end is told with the first lease that is `refused`, whatever was answered: others may hold
    searches still, and those of a gateway that died are never answered. The threshold is told before it.
    """
    if limit is None:
        return day, []
    used_up = refused or 0 < limit <= day.answered
    near = used_up or 0 < limit * THRESHOLD_PERCENT <= day.answered * 100
    events: list[EventData] = []
    if near and day.told < THRESHOLD_PERCENT:
        events.append(
            QuotaThresholdReached(
                quota=Quota.SEARCHES, limit=limit, used=day.answered, percent=THRESHOLD_PERCENT
            )
        )
    if used_up and day.told < 100:
        events.append(QuotaExceeded(quota=Quota.SEARCHES, limit=limit, used=day.leased))
    reached = 100 if used_up else THRESHOLD_PERCENT if near else 0
    return msgspec.structs.replace(day, told=max(day.told, reached)), events


def first_in_use(now: datetime) -> date:
    """Return the first day whose leases may be in use: on the days before it they are lost or settled."""
    return (now - CLOCK_SKEW).date()


def check_lease(request: LeaseSearches, now: datetime) -> None:
    """Raise `ValidationError` for numbers that are none, and for a day that nobody searches on."""
    errors = _count_errors("wanted", request.wanted) + _count_errors("needed", request.needed)
    errors += _count_errors("answered", request.answered)
    errors += _limit_errors(request.limit) + _future_errors(request.day, now)
    if request.day < first_in_use(now):
        errors.append(FieldError("day", "is over; nothing is leased of it any more"))
    refuse(errors)


def check_settlement(request: SettleSearches, now: datetime) -> None:
    """Raise `ValidationError` for numbers that are none, and for a day that has not begun."""
    errors = _count_errors("unused", request.unused) + _count_errors("answered", request.answered)
    refuse(errors + _limit_errors(request.limit) + _future_errors(request.day, now))


def check_report(report: ReportSearches, now: datetime) -> None:
    """Raise `ValidationError` when the report tells what cannot be."""
    if len(report.tallies) > MAX_TALLIES:
        refuse([FieldError("tallies", f"must be at most {MAX_TALLIES}")])
    errors = [
        FieldError(f"tallies[{place}].{error.field}", error.message)
        for place, tally in enumerate(report.tallies)
        for error in (
            *_count_errors("answered", tally.answered),
            *_limit_errors(tally.limit),
            *_future_errors(tally.day, now),
        )
    ]
    refuse(errors)


def check_range(request: UsageRange) -> None:
    """Raise `ValidationError` for days that are too many, or none."""
    if not 0 <= (request.last - request.first).days < MAX_DAYS:
        refuse([FieldError("last", f"must be the first day or one of the {MAX_DAYS - 1} after it")])


def future_day(day: date, now: datetime) -> bool:
    """Return whether no clock that is right to an hour can have come to `day`."""
    return day > (now + CLOCK_SKEW).date()


def _future_errors(day: date, now: datetime) -> list[FieldError]:
    return [FieldError("day", f"has not begun; it is {now:%Y-%m-%dT%H:%M}Z")] if future_day(day, now) else []


def _count_errors(field: str, count: int) -> list[FieldError]:
    return [] if 0 <= count <= MAX_SEARCHES else [FieldError(field, f"must be 0 to {MAX_SEARCHES}")]


def _limit_errors(limit: int | None) -> list[FieldError]:
    return [] if limit is None or limit >= 0 else [FieldError("limit", "must be 0 or more, or null")]
