"""Publishing events once more, for the platform's operator."""

from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from litestar import Response, post
from msgspec import Meta

from quarry_common.contracts.audit import Facts
from quarry_common.contracts.replaying import (
    KEPT_HOURS,
    MAX_EVENTS,
    EventsReplayed,
    OutboxService,
    ReplayEvents,
    replay_of,
)
from quarry_common.contracts.tenancy import Scope, Slug
from quarry_common.errors import FieldError, ValidationError
from quarry_gateway.caches.purging import chosen
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare

TAG = "Events"
REPLAY_SECONDS: Final = 30.0
LONGEST: Final = timedelta(hours=KEPT_HOURS)

Moment = Annotated[datetime, Meta(tz=True)]


class EventReplay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events to publish once more."""

    service: Annotated[OutboxService, Meta(description="Whose events.")]
    since: Annotated[Moment, Meta(description="When the first of them happened.")]
    until: Annotated[Moment, Meta(description="Up to this moment, which is not included.")]
    tenant: Annotated[Slug | None, Meta(description="Of this tenant; null is of all.")] = None


@post(
    "/api/admin/events/replay",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="Publish events once more",
            description=(
                "For subscribers that have lost them. The events keep their ids, so that who has seen them "
                f"does nothing twice. A service keeps its events for {KEPT_HOURS} hours after they were "
                f"published; a range holds at most {MAX_EVENTS} of them. Answered before they are published, "
                "which takes some seconds."
            ),
            body=EventReplay,
            body_example={
                "service": "indexer",
                "since": "2027-01-31T09:00:00Z",
                "until": "2027-01-31T10:00:00Z",
                "tenant": "acme",
            },
            replies={200: EventsReplayed},
            errors=(404, 409),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def replay_events(request: Call) -> Response[bytes]:
    """Have events published once more and answer how many."""
    gateway, key = gateway_of(request), idempotency_key(request)
    body = await read_json(request, EventReplay)
    if not body.since < body.until <= body.since + LONGEST:
        wrong = FieldError("until", f"must be after `since`, by at most {KEPT_HOURS} hours")
        raise ValidationError("1 field is wrong.", errors=[wrong])
    whose = await chosen(gateway, request.auth, body.tenant)
    asked = ReplayEvents(body.since, body.until, whose.tenant_id, key)
    replayed = await gateway.ask(replay_of(body.service), asked, REPLAY_SECONDS)
    told: Facts = {
        "service": body.service.value,
        "since": body.since.isoformat(),
        "until": body.until.isoformat(),
        "events": replayed.events,
    }
    await gateway.audit.record(request.auth, "events.replayed", whose.slug or "*", after=told)
    return reply(replayed)


HANDLERS = [replay_events]
