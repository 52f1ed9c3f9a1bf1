"""API keys of a tenant."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from msgspec import Meta

from quarry_common.contracts.tenancy import (
    CREATE_KEY,
    LIST_KEYS,
    REVOKE_KEY,
    ApiKey,
    CreatedKey,
    CreateKey,
    KeyLabel,
    KeyPage,
    ListKeys,
    Name,
    RevokeKey,
    Scope,
)
from quarry_gateway.bodies import read_json
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.operations import Operation, declare
from quarry_gateway.paging import PageQuery
from quarry_gateway.validation import decode_query, path_uuid

TAG = "API keys"

MetaText = Annotated[str, Meta(max_length=500)]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be made. It cannot hold a scope that its maker does not hold."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=20)]
    label: KeyLabel = KeyLabel.LIVE
    metadata: Annotated[dict[str, MetaText], Meta(max_length=50)] = {}
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


@post(
    "/api/keys",
    opt=declare(
        Operation(
            access=Scope.KEYS_WRITE,
            tag=TAG,
            summary="Create a key",
            description=(
                "The key's text is in this answer only; it cannot be read again, but a request repeated with "
                "the same idempotency key has the same answer for a day."
            ),
            body=NewKey,
            body_example={"name": "web shop", "scopes": ["search"], "label": "live"},
            replies={201: CreatedKey},
            errors=(409, 429),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def create_key(request: Call) -> Response[bytes]:
    """Make a key and answer it with its secret."""
    caller = request.auth
    tenant_id = caller.tenant_id
    key = idempotency_key(request)
    body = await read_json(request, NewKey)
    asked = CreateKey(
        tenant_id=tenant_id,
        name=body.name,
        scopes=frozenset(body.scopes),
        granted_by=caller.scopes,
        label=body.label,
        metadata=body.metadata,
        expires_at=body.expires_at,
        idempotency_key=key,
    )
    return reply(await gateway_of(request).ask(CREATE_KEY, asked), 201)


@get(
    "/api/keys",
    opt=declare(
        Operation(
            access=Scope.KEYS_READ,
            tag=TAG,
            summary="List keys in the order of their creation",
            query=PageQuery,
            replies={200: KeyPage},
        )
    ),
)
async def list_keys(request: Call) -> Response[bytes]:
    """Answer a page of the tenant's keys, without secrets."""
    query = decode_query(request.scope["query_string"], PageQuery)
    asked = ListKeys(request.auth.tenant_id, query.limit, query.cursor)
    return reply(await gateway_of(request).ask(LIST_KEYS, asked))


@delete(
    "/api/keys/{key_id:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.KEYS_WRITE,
            tag=TAG,
            summary="Revoke a key",
            description="It is refused everywhere within 5 seconds.",
            replies={200: ApiKey},
            errors=(404,),
        )
    ),
)
async def revoke_key(request: Call, key_id: FromPath[str]) -> Response[bytes]:
    """Revoke a key and answer it."""
    gateway = gateway_of(request)
    asked = RevokeKey(request.auth.tenant_id, path_uuid(key_id, "key_id"))
    revoked = await gateway.ask(REVOKE_KEY, asked)
    gateway.authenticator.forget(revoked.id)
    return reply(revoked)


HANDLERS = [create_key, list_keys, revoke_key]
