"""Deliveries of webhooks: their log, tests, and what is made again."""

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from msgspec import Meta

from quarry_common.contracts.audit import Facts
from quarry_common.contracts.tenancy import Scope
from quarry_common.contracts.webhooks import (
    ENDPOINT_STATS,
    GET_DELIVERY,
    GET_REPLAY,
    LIST_DELIVERIES,
    MAX_FILTERS,
    REDELIVER,
    SEND_TEST,
    START_REPLAY,
    Delivery,
    DeliveryDetail,
    DeliveryPage,
    DeliveryRef,
    DeliveryState,
    EventFilter,
    ListDeliveries,
    Replay,
    ReplayKind,
    ReplayRef,
    SendTest,
    StartReplay,
    Stats,
    StatsOf,
)
from quarry_gateway.forms.validation import decode_query, path_uuid
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery
from quarry_gateway.routes.webhooks import TAG, endpoint_of

LONGEST_RANGE = timedelta(days=14)
Time = Annotated[datetime, Meta(tz=True)]


class DeliveriesQuery(PageQuery, frozen=True):
    """Which deliveries to list."""

    state: DeliveryState | None = None
    event_type: EventFilter | None = None
    since: Annotated[Time | None, Meta(description="Made at that time or later.")] = None
    until: Annotated[Time | None, Meta(description="Made before that time.")] = None


class ReplayRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is made again: a range of at most 14 days; `until` is no part of it."""

    since: Time
    until: Annotated[
        Time | None, Meta(description="Now when it is left out, at most 14 days after `since`.")
    ] = None
    event_types: Annotated[
        list[EventFilter], Meta(max_length=MAX_FILTERS, description="None are those of the endpoint.")
    ] = []


class StatsQuery(msgspec.Struct, frozen=True):
    """How far back to look."""

    hours: Annotated[int, Meta(ge=1, le=720, description="The present hour and those before it.")] = 24


def _asking(summary: str, description: str, errors: tuple[int, ...] = (404, 409)) -> Operation:
    return Operation(
        access=Scope.WEBHOOKS_WRITE,
        tag=TAG,
        summary=summary,
        description=description,
        replies={202: Delivery},
        errors=errors,
        request_headers=(IDEMPOTENCY_KEY,),
    )


@post(
    "/api/webhooks/{webhook_id:str}/test",
    status_code=202,
    opt=declare(
        _asking(
            "Deliver a test",
            "A `webhook.test`, whatever the endpoint filters and though it be disabled; the log tells what "
            "came of it.",
        )
    ),
)
async def test_webhook(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Have a test delivered and answer its delivery."""
    gateway, ref = gateway_of(request), endpoint_of(request, webhook_id)
    sent = await gateway.ask(SEND_TEST, SendTest(ref, idempotency_key(request)))
    after: Facts = {"delivery_id": str(sent.id)}
    await gateway.audit.record(request.auth, "webhook.tested", str(ref.endpoint_id), after=after)
    return reply(sent, 202, location=_place(sent))


@get(
    "/api/webhooks/{webhook_id:str}/deliveries",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_READ,
            tag=TAG,
            summary="List deliveries, latest first",
            query=DeliveriesQuery,
            replies={200: DeliveryPage},
            errors=(404,),
        )
    ),
)
async def list_deliveries(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Answer a page of an endpoint's deliveries."""
    ref = endpoint_of(request, webhook_id)
    query = decode_query(request.scope["query_string"], DeliveriesQuery)
    asked = ListDeliveries(
        ref=ref,
        states=[] if query.state is None else [query.state],
        event_types=[] if query.event_type is None else [query.event_type],
        since=query.since,
        until=query.until,
        limit=query.limit,
        cursor=query.cursor,
    )
    return reply(await gateway_of(request).ask(LIST_DELIVERIES, asked))


@get(
    "/api/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_READ,
            tag=TAG,
            summary="Read a delivery with what is sent and its attempts",
            description="The last 50 attempts, latest first. `payload` is null when it is not kept any more.",
            replies={200: DeliveryDetail},
            errors=(404,),
        )
    ),
)
async def get_delivery(
    request: Call, webhook_id: FromPath[str], delivery_id: FromPath[str]
) -> Response[bytes]:
    """Answer one delivery."""
    return reply(await gateway_of(request).ask(GET_DELIVERY, _delivery(request, webhook_id, delivery_id)))


@post(
    "/api/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/redeliver",
    status_code=202,
    opt=declare(
        _asking(
            "Deliver again",
            "At once and under the same `webhook-id`, whatever became of it and though the endpoint be "
            "disabled; its schedule begins again.",
        )
    ),
)
async def redeliver(request: Call, webhook_id: FromPath[str], delivery_id: FromPath[str]) -> Response[bytes]:
    """Have a delivery made again and answer it."""
    gateway, ref = gateway_of(request), _delivery(request, webhook_id, delivery_id)
    asked = msgspec.structs.replace(ref, idempotency_key=idempotency_key(request))
    done = await gateway.ask(REDELIVER, asked)
    after: Facts = {"delivery_id": str(done.id)}
    await gateway.audit.record(request.auth, "webhook.redelivered", str(done.endpoint_id), after=after)
    return reply(done, 202, location=_place(done))


def _replaying(summary: str, description: str) -> Operation:
    return Operation(
        access=Scope.WEBHOOKS_WRITE,
        tag=TAG,
        summary=summary,
        description=description,
        body=ReplayRange,
        body_example={"since": "2026-01-30T00:00:00Z", "until": "2026-01-31T00:00:00Z"},
        replies={202: Replay},
        errors=(404, 409),
        request_headers=(IDEMPOTENCY_KEY,),
    )


@post(
    "/api/webhooks/{webhook_id:str}/recover",
    status_code=202,
    opt=declare(
        _replaying(
            "Deliver again what has failed in a range",
            "Deliveries that were made in the range and have failed, are held or expired.",
        )
    ),
)
async def recover_webhook(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Have what has failed delivered again."""
    return await _start(request, webhook_id, ReplayKind.RECOVER)


@post(
    "/api/webhooks/{webhook_id:str}/replay",
    status_code=202,
    opt=declare(
        _replaying(
            "Deliver again all events of a range",
            "Those delivered before, too, and those that the endpoint never got; each under its own "
            "`webhook-id`.",
        )
    ),
)
async def replay_webhook(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Have all of a range delivered again."""
    return await _start(request, webhook_id, ReplayKind.REPLAY)


@get(
    "/api/webhooks/{webhook_id:str}/replays/{replay_id:str}",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_READ,
            tag=TAG,
            summary="Read how far a recovery or a replay is",
            replies={200: Replay},
            errors=(404,),
        )
    ),
)
async def get_replay(request: Call, webhook_id: FromPath[str], replay_id: FromPath[str]) -> Response[bytes]:
    """Answer one replay."""
    asked = ReplayRef(endpoint_of(request, webhook_id), path_uuid(replay_id, "replay_id"))
    return reply(await gateway_of(request).ask(GET_REPLAY, asked))


@get(
    "/api/webhooks/{webhook_id:str}/stats",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_READ,
            tag=TAG,
            summary="How an endpoint has done",
            description="Success rate and durations, in all and of each hour that had attempts.",
            query=StatsQuery,
            replies={200: Stats},
            errors=(404,),
        )
    ),
)
async def show_webhook_stats(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Answer an endpoint's success rate."""
    ref = endpoint_of(request, webhook_id)
    query = decode_query(request.scope["query_string"], StatsQuery)
    return reply(await gateway_of(request).ask(ENDPOINT_STATS, StatsOf(ref, query.hours)))


async def _start(request: Call, webhook_id: str, kind: ReplayKind) -> Response[bytes]:
    gateway, ref = gateway_of(request), endpoint_of(request, webhook_id)
    key = idempotency_key(request)
    body = await read_json(request, ReplayRange)
    asked = StartReplay(
        ref=ref,
        kind=kind,
        since=body.since,
        # Not the present time, which a request that is repeated under its key would differ in: what has not
        # happened yet is no part of any range.
        until=body.until or body.since + LONGEST_RANGE,
        event_types=body.event_types,
        idempotency_key=key,
    )
    started = await gateway.ask(START_REPLAY, asked)
    action = "webhook.recovered" if kind is ReplayKind.RECOVER else "webhook.replayed"
    after: Facts = msgspec.to_builtins(
        {"replay_id": started.id, "since": started.since, "until": started.until}
    )
    await gateway.audit.record(request.auth, action, str(ref.endpoint_id), after=after)
    return reply(started, 202, location=f"/api/webhooks/{ref.endpoint_id}/replays/{started.id}")


def _delivery(request: Call, webhook_id: str, delivery_id: str) -> DeliveryRef:
    return DeliveryRef(endpoint_of(request, webhook_id), path_uuid(delivery_id, "delivery_id"))


def _place(delivery: Delivery) -> str:
    return f"/api/webhooks/{delivery.endpoint_id}/deliveries/{delivery.id}"


HANDLERS = [
    test_webhook,
    list_deliveries,
    get_delivery,
    redeliver,
    recover_webhook,
    replay_webhook,
    get_replay,
    show_webhook_stats,
]
