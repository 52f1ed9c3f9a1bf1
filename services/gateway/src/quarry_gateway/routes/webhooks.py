"""Webhooks: where a tenant's events are delivered to."""

from enum import StrEnum
from typing import Annotated

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath
from msgspec import Meta

from quarry_common.contracts.audit import Facts
from quarry_common.contracts.tenancy import Scope
from quarry_common.contracts.webhooks import (
    CREATE_ENDPOINT,
    DELETE_ENDPOINT,
    GET_ENDPOINT,
    LIST_ENDPOINTS,
    MAX_OVERLAP_HOURS,
    ROTATE_SECRET,
    UPDATE_ENDPOINT,
    WEBHOOKS_OVERVIEW,
    CreateEndpoint,
    Endpoint,
    EndpointChanges,
    EndpointPage,
    EndpointRef,
    EndpointWithSecret,
    ListEndpoints,
    NewEndpoint,
    Overview,
    OverviewPage,
    RotateSecret,
    Secret,
    UpdateEndpoint,
)
from quarry_common.errors import PreconditionFailedError
from quarry_gateway.event_catalogue import EventCatalogue, catalogue
from quarry_gateway.forms.validation import decode_query, path_uuid
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import JSON, MERGE_PATCH, read_json
from quarry_gateway.http.conditions import ENDPOINT_ETAG, IF_MATCH_ENDPOINT, condition_of, etag
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery

TAG = "Webhooks"
PATCH_TYPES = (JSON, MERGE_PATCH)
DELETE_SECONDS = 25.0
"""A long log takes its time."""


class SecretRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the secret before signs beside the new one."""

    overlap_hours: Annotated[float, Meta(ge=0, le=MAX_OVERLAP_HOURS)] = 24.0
    secret: Annotated[Secret | None, Meta(description="One is made when none is given.")] = None


class Only(StrEnum):
    """Some of the endpoints."""

    FAILING = "failing"


class OverviewQuery(PageQuery, frozen=True):
    """Which endpoints to show."""

    only: Annotated[
        Only | None,
        Meta(description="`failing`: those that fail, or were disabled because they did or said so."),
    ] = None


@get(
    "/api/webhooks/event-types",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_READ,
            also=Scope.PLATFORM,
            tag=TAG,
            summary="List the types of events",
            description="What each means, the JSON Schema of its `data`, and an example of that.",
            replies={200: EventCatalogue},
        )
    ),
)
async def list_event_types() -> Response[bytes]:
    """Answer the catalogue."""
    return reply(catalogue())


@post(
    "/api/webhooks",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_WRITE,
            tag=TAG,
            summary="Create an endpoint",
            description=(
                "Events that match `event_types` are delivered to it from now on, signed as Standard "
                "Webhooks 1.0 says. The secret is in this answer only; a request repeated with the same "
                "idempotency key has the same answer for a day."
            ),
            body=NewEndpoint,
            body_example={"url": "https://acme.example/hooks", "event_types": ["document.*", "job.failed"]},
            replies={201: EndpointWithSecret},
            errors=(409, 429),
            request_headers=(IDEMPOTENCY_KEY,),
            reply_headers=(ENDPOINT_ETAG,),
        )
    ),
)
async def create_webhook(request: Call) -> Response[bytes]:
    """Make an endpoint and answer it with its secret."""
    gateway, caller = gateway_of(request), request.auth
    tenant_id, key = caller.tenant_id, idempotency_key(request)
    body = await read_json(request, NewEndpoint)
    limit = None if caller.quotas is None else caller.quotas.webhooks
    made = await gateway.ask(CREATE_ENDPOINT, CreateEndpoint(tenant_id, body, limit, key, caller.actor))
    endpoint = made.endpoint
    await gateway.audit.record(caller, "webhook.created", str(endpoint.id), after=_facts(endpoint))
    return reply(made, 201, location=f"/api/webhooks/{endpoint.id}", etag=etag(endpoint.revision))


@get(
    "/api/webhooks",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_READ,
            tag=TAG,
            summary="List endpoints, oldest first",
            query=PageQuery,
            replies={200: EndpointPage},
        )
    ),
)
async def list_webhooks(request: Call) -> Response[bytes]:
    """Answer a page of the tenant's endpoints."""
    query = decode_query(request.scope["query_string"], PageQuery)
    asked = ListEndpoints(request.auth.tenant_id, query.limit, query.cursor)
    return reply(await gateway_of(request).ask(LIST_ENDPOINTS, asked))


@get(
    "/api/webhooks/{webhook_id:str}",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_READ,
            tag=TAG,
            summary="Read an endpoint",
            replies={200: Endpoint},
            errors=(404,),
            reply_headers=(ENDPOINT_ETAG,),
        )
    ),
)
async def get_webhook(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Answer one endpoint."""
    endpoint = await gateway_of(request).ask(GET_ENDPOINT, endpoint_of(request, webhook_id))
    return reply(endpoint, etag=etag(endpoint.revision))


@patch(
    "/api/webhooks/{webhook_id:str}",
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_WRITE,
            tag=TAG,
            summary="Change, enable or disable an endpoint",
            description=(
                "What is left out stays; `event_types` and `headers` take the place of those before. While "
                "its owner has disabled it, events are not kept for it. Enabling it makes what is held "
                "pending."
            ),
            body=EndpointChanges,
            body_types=PATCH_TYPES,
            body_example={"enabled": True, "event_types": ["*"]},
            replies={200: Endpoint},
            errors=(404, 412),
            request_headers=(IF_MATCH_ENDPOINT,),
            reply_headers=(ENDPOINT_ETAG,),
        )
    ),
)
async def update_webhook(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Change an endpoint and answer it."""
    gateway = gateway_of(request)
    ref = endpoint_of(request, webhook_id)
    body = await read_json(request, EndpointChanges, kinds=PATCH_TYPES)
    before, ref = await _conditional(request, ref)
    after = await gateway.ask(UPDATE_ENDPOINT, UpdateEndpoint(ref, body))
    await gateway.audit.record(
        request.auth, "webhook.updated", str(after.id), before=_facts(before), after=_facts(after)
    )
    return reply(after, etag=etag(after.revision))


@delete(
    "/api/webhooks/{webhook_id:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_WRITE,
            tag=TAG,
            summary="Delete an endpoint and its log",
            description=(
                "It gets nothing more from now on. When its log is so long that it is not gone in 20 "
                "seconds, the answer is 503: delete it again."
            ),
            replies={200: Endpoint},
            errors=(404, 412),
            request_headers=(IF_MATCH_ENDPOINT,),
        )
    ),
)
async def delete_webhook(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Delete an endpoint and answer it as it was."""
    gateway = gateway_of(request)
    _, ref = await _conditional(request, endpoint_of(request, webhook_id))
    gone = await gateway.ask(DELETE_ENDPOINT, ref, DELETE_SECONDS)
    await gateway.audit.record(request.auth, "webhook.deleted", str(gone.id), before=_facts(gone))
    return reply(gone)


@post(
    "/api/webhooks/{webhook_id:str}/rotate-secret",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.WEBHOOKS_WRITE,
            tag=TAG,
            summary="Give an endpoint a new secret",
            description=(
                "Deliveries carry a signature of each secret until the overlap is over; with 0 the one "
                "before is gone at once. The new one is in this answer only."
            ),
            body=SecretRotation,
            body_example={"overlap_hours": 24},
            replies={200: EndpointWithSecret},
            errors=(404, 409, 412),
            request_headers=(IDEMPOTENCY_KEY, IF_MATCH_ENDPOINT),
            reply_headers=(ENDPOINT_ETAG,),
        )
    ),
)
async def rotate_webhook_secret(request: Call, webhook_id: FromPath[str]) -> Response[bytes]:
    """Make the secret that takes another's place and answer it."""
    gateway = gateway_of(request)
    ref, key = endpoint_of(request, webhook_id), idempotency_key(request)
    body = await read_json(request, SecretRotation)
    if condition_of(request) is not None:
        _, ref = await _conditional(request, ref)
    rotated = await gateway.ask(ROTATE_SECRET, RotateSecret(ref, body.overlap_hours, body.secret, key))
    endpoint = rotated.endpoint
    after: Facts = {"secret_expires_at": msgspec.to_builtins(endpoint.secret_expires_at)}
    await gateway.audit.record(request.auth, "webhook.secret_rotated", str(endpoint.id), after=after)
    return reply(rotated, etag=etag(endpoint.revision))


@get(
    "/api/admin/webhooks",
    opt=declare(
        Operation(
            access=Scope.PLATFORM,
            tag=TAG,
            summary="What waits over all tenants, and their endpoints, those in trouble first",
            query=OverviewQuery,
            replies={200: OverviewPage},
        )
    ),
)
async def show_webhooks(request: Call) -> Response[bytes]:
    """Answer the operator's view."""
    query = decode_query(request.scope["query_string"], OverviewQuery)
    asked = Overview(query.limit, query.only is Only.FAILING, query.cursor)
    return reply(await gateway_of(request).ask(WEBHOOKS_OVERVIEW, asked))


def endpoint_of(request: Call, webhook_id: str) -> EndpointRef:
    """Return the endpoint of the caller's tenant that a path names."""
    caller = request.auth
    return EndpointRef(caller.tenant_id, path_uuid(webhook_id, "webhook_id"), caller.actor)


async def _conditional(request: Call, ref: EndpointRef) -> tuple[Endpoint, EndpointRef]:
    """Return an endpoint as it is, and how to name it so that only what was asked for is changed.

    Raises `PreconditionFailedError` when it is not at a revision that `If-Match` names.
    """
    condition = condition_of(request)
    before = await gateway_of(request).ask(GET_ENDPOINT, ref)
    if condition is None or condition.revisions is None:
        return before, ref
    if before.revision not in condition.revisions:
        raise PreconditionFailedError(
            f"The endpoint has revision {before.revision} now.",
            advice="Read the endpoint again, take its present ETag and decide again.",
        )
    return before, msgspec.structs.replace(ref, revision=before.revision)


def _facts(endpoint: Endpoint) -> Facts:
    """Return what the audit log tells of an endpoint: what its owner sets, never a secret."""
    told = ("url", "description", "event_types", "header_names", "enabled", "ordered", "requests_per_second")
    return {name: msgspec.to_builtins(getattr(endpoint, name)) for name in told}


HANDLERS = [
    list_event_types,
    create_webhook,
    list_webhooks,
    get_webhook,
    update_webhook,
    delete_webhook,
    rotate_webhook_secret,
    show_webhooks,
]
