"""Rules of what gateways tell of the use of keys."""

from collections import defaultdict
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

    key_id: UUID
    day: date
    requests: int
    denied: int


class Use(msgspec.Struct, frozen=True):
    """One tenant's part of a report: each key and day once."""

    days: list[DayUse]
    """In the order of keys and days."""
    last_used_at: dict[UUID, datetime]
    """By key, in the same order."""


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


def by_tenant(tallies: Iterable[KeyTally], now: datetime) -> dict[UUID, Use]:
    """Return what is told of each tenant; a use in the future is one of now."""
    requests: dict[tuple[UUID, UUID, date], int] = defaultdict(int)
    denied: dict[tuple[UUID, UUID, date], int] = defaultdict(int)
    last: dict[tuple[UUID, UUID], datetime] = {}
    for tally in tallies:
        if not tally.requests:
            continue
        of_day, of_key = (tally.tenant_id, tally.key_id, tally.day), (tally.tenant_id, tally.key_id)
        requests[of_day] += tally.requests
        denied[of_day] += tally.denied
        used_at = min(tally.last_used_at.astimezone(UTC), now)
        last[of_key] = max(last.get(of_key, used_at), used_at)
    uses: dict[UUID, Use] = {}
    for tenant_id, key_id, day in sorted(requests):
        use = uses.setdefault(tenant_id, Use([], {}))
        of_day = tenant_id, key_id, day
        use.days.append(DayUse(key_id, day, requests[of_day], denied[of_day]))
        use.last_used_at[key_id] = last[tenant_id, key_id]
    return uses


def _fault(tally: KeyTally, now: datetime) -> str:
    if not 0 <= tally.denied <= tally.requests <= MAX_REQUESTS:
        return f"must have 0 to {MAX_REQUESTS} requests, and no more denied ones"
    if tally.last_used_at.tzinfo is None:
        return "must name the time zone of last_used_at"
    if future_day(tally.day, now):
        return "is of a day that has not begun"
    return ""
