"""What a tenant used, day by day: from the services that count, put side by side."""

import asyncio
import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.contracts.usage import (
    INDEX_DAYS,
    SEARCH_DAYS,
    IndexDay,
    IndexDays,
    SearchDays,
    UsageRange,
)
from quarry_common.errors import FieldError
from quarry_gateway.forms.validation import refuse
from quarry_gateway.gateway import Gateway

MAX_DAYS: Final = 400
USUAL_DAYS: Final = 30
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2999


class UsageDay(msgspec.Struct, frozen=True):
    """One day (UTC) of a tenant."""

    day: date
    documents_added: int
    """Versions that were taken in, of new documents and of changed ones."""
    bytes_added: int
    chunks: int
    """Passages that were made."""
    tokens: int
    """Tokens in them."""
    searches: int
    """Searches that were answered."""
    documents: int
    """Documents at the end of the day."""
    storage_bytes: int
    """Their bodies."""


class Period(msgspec.Struct, frozen=True):
    """Days from the first to the last, both included."""

    first: date
    last: date


def period_of(first: date | None, last: date | None, today: date | None = None) -> Period:
    """Return the days that are meant: the last thirty when nothing is said. Raises `ValidationError`."""
    for name, day in (("first", first), ("last", last)):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            refuse([FieldError(name, f"must be a day from {FIRST_YEAR} to {LAST_YEAR}")])
    end = last or today or datetime.now(UTC).date()
    begin = first or end - timedelta(days=USUAL_DAYS - 1)
    if begin > end:
        refuse([FieldError("first", "must not be after `last`")])
    if (end - begin).days >= MAX_DAYS:
        refuse([FieldError("first", f"must be at most {MAX_DAYS} days before `last`")])
    return Period(begin, end)


async def usage_of(gateway: Gateway, tenant_id: UUID, period: Period) -> list[UsageDay]:
    """Return every day of `period`. Raises what the services raise."""
    asked = UsageRange(tenant_id, period.first, period.last)
    indexed, searched = await asyncio.gather(gateway.ask(INDEX_DAYS, asked), gateway.ask(SEARCH_DAYS, asked))
    return list(merged(period, indexed, searched))


def merged(period: Period, indexed: IndexDays, searched: SearchDays) -> Iterator[UsageDay]:
    """Yield the days of `period`; what is stored stays until a day says something else."""
    index = {each.day: each for each in indexed.days}
    searches = {each.day: each.searches for each in searched.days}
    stored = indexed.before
    day = period.first
    while day <= period.last:
        found = index.get(day)
        stored = found or stored
        yield UsageDay(
            day=day,
            documents_added=found.documents_added if found else 0,
            bytes_added=found.bytes_added if found else 0,
            chunks=found.chunks if found else 0,
            tokens=found.tokens if found else 0,
            searches=searches.get(day, 0),
            documents=_stored(stored).documents,
            storage_bytes=_stored(stored).storage_bytes,
        )
        day += timedelta(days=1)


def _stored(day: IndexDay | None) -> IndexDay:
    return day or IndexDay(date.min, 0, 0, 0, 0, 0, 0)


def as_csv(rows: Iterable[tuple[str, UsageDay]], *, header: bool) -> str:
    """Return rows of CSV (RFC 4180): a tenant's slug and a day each."""
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(["tenant", *UsageDay.__struct_fields__])
    writer.writerows([slug, *msgspec.structs.astuple(day)] for slug, day in rows)
    return text.getvalue()


def as_ndjson(rows: Iterable[tuple[str, UsageDay]]) -> str:
    """Return a line of JSON for each: a tenant's slug and a day."""
    lines = (
        msgspec.json.encode({"tenant": slug, **msgspec.structs.asdict(day)}).decode() for slug, day in rows
    )
    return "".join(f"{line}\n" for line in lines)
