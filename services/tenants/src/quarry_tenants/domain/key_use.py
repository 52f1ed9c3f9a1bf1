"""Rules of what gateways tell of the use of keys."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.contracts.api_keys import KeyTally, ReportKeyUse
from quarry_common.errors import FieldError
from quarry_tenants.domain.checks import refuse
from quarry_tenants.domain.searches import future_day

MAX_TALLIES: Final = 5_000
"""In one report."""
MAX_REQUESTS: Final = 1_000_000_000
SHOWN_DAYS: Final = 90


class DayUse(msgspec.Struct, frozen=True):
    """How a key was used on a day (UTC), as far as one report tells."""

    tenant_id: UUID
    key_id: UUID
    day: date
    requests: int
    denied: int
    last_used_at: datetime


def check_report(report: ReportKeyUse, now: datetime) -> None:
    """Raise `ValidationError` when the report tells what cannot be."""
    if len(report.tallies) > MAX_TALLIES:
        refuse([FieldError("tallies", f"must be at most {MAX_TALLIES}")])
    errors = [
        FieldError(f"tallies[{place}]", message)
        for place, tally in enumerate(report.tallies)
        if (message := _fault(tally, now))
    ]
    refuse(errors)


def merged(tallies: Iterable[KeyTally], now: datetime) -> list[DayUse]:
    """Return one use for each key and day, in the order of tenants, keys and days.

    A use in the future is one of now.
    """
    uses: dict[tuple[UUID, UUID, date], DayUse] = {}
    for tally in tallies:
        if not tally.requests:
            continue
        place = tally.tenant_id, tally.key_id, tally.day
        used_at = min(tally.last_used_at.astimezone(UTC), now)
        before = uses.get(place) or DayUse(*place, 0, 0, used_at)
        uses[place] = DayUse(
            *place,
            before.requests + tally.requests,
            before.denied + tally.denied,
            max(before.last_used_at, used_at),
        )
    return [uses[place] for place in sorted(uses)]


def _fault(tally: KeyTally, now: datetime) -> str:
    if not 0 <= tally.denied <= tally.requests <= MAX_REQUESTS:
        return f"must have 0 to {MAX_REQUESTS} requests, and no more denied ones"
    if tally.last_used_at.tzinfo is None:
        return "must name the time zone of last_used_at"
    if future_day(tally.day, now):
        return "is of a day that has not begun"
    return ""
