"""The events of the platform as they come, for those who do not read them from NATS."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.types import ASGIApp
from msgspec import Meta

from quarry_common.contracts import subjects
from quarry_common.contracts.events import Way
from quarry_common.contracts.events.base import Moment
from quarry_common.contracts.events.filters import filters_for
from quarry_common.contracts.streams import EVENTS
from quarry_common.contracts.tenancy import PLATFORM_TENANT, Scope
from quarry_common.errors import FieldError, ForbiddenError
from quarry_gateway.domain import Caller, require_scope
from quarry_gateway.event_streams.live import LAST_PLACE, LiveEvents
from quarry_gateway.event_streams.places import PATTERN
from quarry_gateway.event_streams.serving import MEDIA_TYPE, open_stream
from quarry_gateway.forms.validation import decode_query, refuse
from quarry_gateway.gateway import Call, gateway_of
from quarry_gateway.http.operations import Operation, declare

TAG = "Events"
KEPT: Final = timedelta(seconds=EVENTS.max_age_seconds)
CLOCKS_APART: Final = timedelta(minutes=1)
FILTERS_LENGTH: Final = 2_000
EXAMPLE: Final = """retry: 1000

id: mJ2cXq7Zr0mWv5k1u3n9dA

id: 5WcXN0o8x2bYb1Qk0aT3Lw
data: {"id":"01931c2e-7b2c-7e41-a3f5-8c9d0b6e1a52","type":"document.indexed",…}

: still there
id: 5WcXN0o8x2bYb1Qk0aT3Lw
"""
SCHEMA: Final[dict[str, object]] = {
    "type": "object",
    "properties": {
        "event": {
            "type": "string",
            "enum": ["missed", "error"],
            "description": "It is not there with what the stream is for: the events of the platform.",
        },
        "id": {"type": "string", "description": "Of this stream, for `Last-Event-ID`; it comes alone, too."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "A CloudEvent; of `missed` what could not be told; of `error` a `Problem`.",
        },
        "retry": {"type": "integer"},
    },
}
_SINCE: Final = (
    f"Begin with what was told at this moment or later, at most {KEPT.days} days ago; by default with what "
    "comes. `Last-Event-ID` goes before it."
)


class StreamQuery(msgspec.Struct, frozen=True):
    """Which events, and from when on."""

    event_types: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=FILTERS_LENGTH,
            description="Types of events, `<entity>.*`, or `*` for all, separated by commas.",
            examples=["document.*,job.failed"],
        ),
    ] = "*"
    since: Annotated[Moment | None, Meta(description=_SINCE)] = None


def _operation(access: Scope, summary: str, description: str) -> Operation:
    return Operation(
        access=access,
        tag=TAG,
        summary=summary,
        description=description,
        query=StreamQuery,
        replies={200: MEDIA_TYPE},
        reply_example=EXAMPLE,
        reply_schema=SCHEMA,
        request_headers=(LAST_PLACE,),
    )


@get(
    "/api/events/stream",
    opt=declare(
        _operation(
            Scope.EVENTS_READ,
            "Follow what happens",
            "Server-sent events: each of the tenant's events as CloudEvent in JSON, in order, from now on. "
            "When the connection ends, connect again with `Last-Event-ID`, as browsers do: nothing is missed "
            f"and nothing repeated. Events are kept {KEPT.days} days; `missed` says that some may not come. "
            "`error` holds a problem: the key is not valid any more, or the message bus is away.",
        )
    ),
)
async def follow_events(request: Call) -> ASGIApp:
    """Answer the tenant's events."""
    tenant_id = request.auth.tenant_id

    def require(caller: Caller) -> None:
        require_scope(caller, Scope.EVENTS_READ)
        if caller.tenant != tenant_id:
            raise ForbiddenError("The key is for another tenant now.")

    return await _opened(request, tenant_id, subjects.events_of(tenant_id), require)


@get(
    "/api/admin/events/stream",
    opt=declare(
        _operation(
            Scope.PLATFORM,
            "Follow what happens everywhere",
            "As the stream of one tenant, with the events of all, and those of the installation (`health.*`, "
            "`tenant.purged`), whose `tenantid` is `00000000-0000-0000-0000-000000000000`.",
        )
    ),
)
async def follow_all_events(request: Call) -> ASGIApp:
    """Answer the events of every tenant and of the installation."""

    def require(caller: Caller) -> None:
        require_scope(caller, Scope.PLATFORM)

    return await _opened(request, PLATFORM_TENANT, subjects.events(), require)


async def _opened(request: Call, tenant_id: UUID, subject: str, require: Callable[[Caller], None]) -> ASGIApp:
    query = decode_query(request.scope["query_string"], StreamQuery)
    event_id = request.headers.get(LAST_PLACE.name) or None
    known = filters_for(Way.SSE, installation=tenant_id == PLATFORM_TENANT)
    filters = [each.strip() for each in query.event_types.split(",")]
    refuse([*_filter_errors(filters, known), *_place_errors(event_id, query.since)])
    source = LiveEvents(
        gateway_of(request).bus, subject, frozenset(filters), last_event_id=event_id, since=query.since
    )
    return await open_stream(request, tenant_id, source, require)


def _filter_errors(filters: list[str], known: frozenset[str]) -> list[FieldError]:
    return [
        FieldError("event_types", f"item {place} is no type of event that is streamed; see docs/events.md")
        for place, each in enumerate(filters, 1)
        if each not in known
    ]


def _place_errors(event_id: str | None, since: datetime | None) -> list[FieldError]:
    if event_id is not None:
        fits = re.fullmatch(PATTERN, event_id)
        return [] if fits else [FieldError(LAST_PLACE.name, "is no id of this stream; leave it out")]
    if since is None:
        return []
    now = datetime.now(UTC)
    if since > now + CLOCKS_APART:
        return [FieldError("since", "must not be in the future")]
    if since < now - KEPT:
        return [FieldError("since", f"must not be more than {KEPT.days} days ago: older events are not kept")]
    return []


HANDLERS = [follow_events, follow_all_events]
