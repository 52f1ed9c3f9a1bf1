"""Which searches a question about them means, as it comes in a query string."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.analytics import MAX_DAYS, Selection
from quarry_common.contracts.audit import ActorKind
from quarry_common.contracts.collections import CollectionName
from quarry_common.contracts.search import SearchMode
from quarry_common.errors import FieldError
from quarry_gateway.domain import Caller
from quarry_gateway.forms.validation import refuse

FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2999
Limit = Annotated[int, Meta(ge=1, le=1_000, description="How many to answer at most.")]

Collection = Annotated[CollectionName | None, Meta(description="Only searches that were limited to it.")]


class RangeQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which searches are meant."""

    days: Annotated[
        int, Meta(ge=1, le=MAX_DAYS, description="The last days, where `start` is not given.")
    ] = 30
    start: Annotated[datetime | None, Meta(description="From when on.")] = None
    end: Annotated[datetime | None, Meta(description="Until when; now by default.")] = None
    collection: Collection = None
    mode: SearchMode | None = None


class RankedQuery(RangeQuery, frozen=True, kw_only=True):
    """Which searches are meant, and how many queries to answer."""

    limit: Limit = 10


def selection_of(query: RangeQuery, caller: Caller, now: datetime | None = None) -> Selection:
    """Return the searches that are meant: of the caller's tenant, or of all for an operator who names none.

    Raises `ValidationError`.
    """
    for name in ("start", "end"):
        moment: datetime | None = getattr(query, name)
        if moment is not None and not FIRST_YEAR <= moment.year <= LAST_YEAR:
            refuse([FieldError(name, f"must be a time from {FIRST_YEAR} to {LAST_YEAR}")])
    end = (query.end or now or datetime.now(UTC)).astimezone(UTC)
    start = (query.start or end - timedelta(days=query.days)).astimezone(UTC)
    if start >= end:
        refuse([FieldError("start", "must be before `end`")])
    if end - start > timedelta(days=MAX_DAYS):
        refuse([FieldError("start", f"must be at most {MAX_DAYS} days before `end`")])
    return Selection(
        tenant_id=owner_of(caller), start=start, end=end, collection=query.collection, mode=query.mode
    )


def owner_of(caller: Caller) -> UUID | None:
    """Return whose searches a caller may ask about; None is all, for an operator who names no tenant."""
    if caller.kind is ActorKind.OPERATOR and caller.tenant is None:
        return None
    return caller.tenant_id
