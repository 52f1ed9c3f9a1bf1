"""What users do with what they found."""

from collections import defaultdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, post
from msgspec import Meta

from quarry_common.contracts.events.searches import Interacted
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import QuarryError, UnauthenticatedError
from quarry_gateway.access.admission import charge_interactions
from quarry_gateway.domain import Caller
from quarry_gateway.forms.interactions import MAX_TOGETHER, UbiEvent, accepted
from quarry_gateway.gateway import Call, Gateway, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.problems import ItemProblem, item_problem

TAG = "Analytics"


class UbiEvents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What users did."""

    events: Annotated[list[UbiEvent], Meta(min_length=1, max_length=MAX_TOGETHER)]


class EventStatus(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class EventResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event."""

    status: EventStatus
    error: ItemProblem | msgspec.UnsetType = msgspec.UNSET


class EventResults(msgspec.Struct, frozen=True):
    """What became of the events, in their order."""

    results: list[EventResult]


@post(
    "/api/events",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.SEARCH,
            keyless=True,
            tag=TAG,
            summary="Tell what users did with answers",
            description=(
                "Events in the form of User Behavior Insights (UBI) 1.3: clicks, feedback and others, "
                "about the "
                "answer that `query_id` names. With an API key, or without one when each event carries the "
                "`event_token` of its answer. The place of a result is that in the answer, whatever is "
                "said of it."
            ),
            body=UbiEvents,
            body_example={
                "events": [
                    {
                        "action_name": "click",
                        "query_id": "01931c2e-7b1a-7cc3-8a5e-0e3b1f6c2d10",
                        "client_id": "browser-7",
                        "event_attributes": {
                            "object": {"object_id": "4f7b6f0e-1e5b-5c56-9d5e-6a2a3c1d9b10"},
                            "position": {"ordinal": 2},
                        },
                    }
                ]
            },
            replies={200: EventResults},
            reads_only=True,
        )
    ),
)
async def tell_events(request: Call) -> Response[bytes]:
    """Take in what users did."""
    gateway = gateway_of(request)
    caller: Caller | None = request.scope.get("auth")
    tenant_id = None if caller is None else caller.tenant_id
    form = await read_json(request, UbiEvents)
    if tenant_id is None and not any(event.event_token for event in form.events):
        raise UnauthenticatedError(
            "The request carries no API key, and its events carry no tokens.",
            advice="Send the `event_token` of the answer with each event, or an API key.",
        )
    now = datetime.now(UTC)
    results: list[EventResult] = []
    told: dict[UUID, list[Interacted]] = defaultdict(list)
    for event in form.events:
        try:
            owner, interacted = accepted(event, tenant_id, gateway.event_tokens, now)
        except QuarryError as error:
            results.append(EventResult(EventStatus.REJECTED, item_problem(error.data)))
        else:
            told[owner].append(interacted)
            results.append(EventResult(EventStatus.ACCEPTED))
    await _record(gateway, request, caller, told)
    return reply(EventResults(results))


async def _record(
    gateway: Gateway, request: Call, caller: Caller | None, told: dict[UUID, list[Interacted]]
) -> None:
    for tenant_id, interactions in told.items():
        if caller is None:
            await charge_interactions(gateway, request.scope, tenant_id, len(interactions))  # type: ignore[arg-type]
        await gateway.interactions.record(tenant_id, interactions)


HANDLERS = [tell_events]
