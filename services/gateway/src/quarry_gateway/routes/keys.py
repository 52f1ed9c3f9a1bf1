"""API keys of a tenant."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from msgspec import Meta

from quarry_common import keys
from quarry_common.contracts.api_keys import (
    CREATE_KEY,
    GET_KEY,
    KEY_USAGE,
    LIST_KEYS,
    REVOKE_KEY,
    ROTATE_KEY,
    VERIFY_KEY,
    ApiKey,
    CreatedKey,
    CreateKey,
    Grant,
    KeyLabel,
    KeyPage,
    KeyRef,
    KeyUsage,
    KeyVerdict,
    ListKeys,
    RevokeKey,
    RotateKey,
    VerifyKey,
)
from quarry_common.contracts.collections import CollectionName
from quarry_common.contracts.tenancy import ROLE_SCOPES, Name, Role, Scope
from quarry_common.errors import FieldError, UnauthenticatedError
from quarry_gateway.forms.validation import decode_query, path_uuid, refuse
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery

TAG = "API keys"
OVERLAP_SECONDS = 86_400

MetaText = Annotated[str, Meta(max_length=500)]
Network = Annotated[str, Meta(min_length=1, max_length=50, examples=["203.0.113.0/24"])]
Principal = Annotated[str, Meta(min_length=1, max_length=200)]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be made. It cannot be allowed more than its maker; give a role or scopes."""

    name: Name
    role: Annotated[
        Role | None, Meta(description="A set of scopes: `admin` everything, `editor` documents, `reader`.")
    ] = None
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=20)] | None = None
    label: KeyLabel = KeyLabel.LIVE
    metadata: Annotated[dict[str, MetaText], Meta(max_length=50)] = {}
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    collections: (
        Annotated[
            list[CollectionName],
            Meta(max_length=1000, description="Collections that it may use; null is all."),
        ]
        | None
    ) = None
    networks: Annotated[
        list[Network], Meta(max_length=100, description="Networks it may be used from; none is all.")
    ] = []
    principals: Annotated[
        list[Principal],
        Meta(max_length=1000, description="Its searches find documents that allow one of these, too."),
    ] = []
    requests_per_second: (
        Annotated[int, Meta(ge=1, le=1_000_000, description="Its own limit, beside the tenant's.")] | None
    ) = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key goes on beside the new one."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=2_592_000)] = OVERLAP_SECONDS


class KeyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be looked at."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]


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
        grant=Grant(
            scopes=_scopes(body),
            collections=None if body.collections is None else frozenset(body.collections),
            networks=tuple(body.networks),
            principals=frozenset(body.principals),
            expires_at=body.expires_at,
        ),
        maker=caller.grant,
        label=body.label,
        metadata=body.metadata,
        requests_per_second=body.requests_per_second,
        idempotency_key=key,
        actor=caller.actor,
    )
    return reply(await gateway_of(request).ask(CREATE_KEY, asked), 201)


def _scopes(body: NewKey) -> frozenset[Scope]:
    if (body.role is None) is (body.scopes is None):
        refuse([FieldError("scopes", "or `role` must be given, one of the two")])
    return frozenset(body.scopes or ()) if body.role is None else ROLE_SCOPES[body.role]


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


@get(
    "/api/keys/{key_id:str}",
    opt=declare(
        Operation(access=Scope.KEYS_READ, tag=TAG, summary="Read a key", replies={200: ApiKey}, errors=(404,))
    ),
)
async def get_key(request: Call, key_id: FromPath[str]) -> Response[bytes]:
    """Answer a key without its secret."""
    return reply(await gateway_of(request).ask(GET_KEY, _named(request, key_id)))


@get(
    "/api/keys/{key_id:str}/usage",
    opt=declare(
        Operation(
            access=Scope.KEYS_READ,
            tag=TAG,
            summary="Read how a key was used",
            description="Requests of the last 90 days, by day (UTC). The last seconds' come a little later.",
            replies={200: KeyUsage},
            errors=(404,),
        )
    ),
)
async def get_key_usage(request: Call, key_id: FromPath[str]) -> Response[bytes]:
    """Answer how often a key was used."""
    return reply(await gateway_of(request).ask(KEY_USAGE, _named(request, key_id)))


@post(
    "/api/keys/{key_id:str}/rotate",
    status_code=201,
    opt=declare(
        Operation(
            access=Scope.KEYS_WRITE,
            tag=TAG,
            summary="Replace a key by a new one",
            description=(
                "The new key may what the old one may, and shares its rate limit. The old one is refused "
                "when the overlap is over; with 0 at once."
            ),
            body=Rotation,
            body_example={"overlap_seconds": OVERLAP_SECONDS},
            replies={201: CreatedKey},
            errors=(404, 409),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def rotate_key(request: Call, key_id: FromPath[str]) -> Response[bytes]:
    """Make the key that takes another's place and answer it with its secret."""
    gateway, caller = gateway_of(request), request.auth
    ref = _named(request, key_id)
    key = idempotency_key(request)
    body = await read_json(request, Rotation)
    asked = RotateKey(ref.tenant_id, ref.key_id, caller.grant, body.overlap_seconds, key, caller.actor)
    made = await gateway.ask(ROTATE_KEY, asked)
    gateway.authenticator.forget(ref.key_id)
    return reply(made, 201)


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
    ref = _named(request, key_id)
    revoked = await gateway.ask(REVOKE_KEY, RevokeKey(ref.tenant_id, ref.key_id, request.auth.actor))
    gateway.authenticator.forget(revoked.id)
    return reply(revoked)


@post(
    "/api/keys/verify",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.KEYS_READ,
            tag=TAG,
            summary="Ask whether a key is valid",
            description="Of the caller's own tenant; any other key is `unknown`.",
            body=KeyText,
            body_example={"key": "qk_live_…"},
            replies={200: KeyVerdict},
            reads_only=True,
        )
    ),
)
async def verify_key(request: Call) -> Response[bytes]:
    """Answer whether a key would be let in, and what it may."""
    tenant_id = request.auth.tenant_id
    body = await read_json(request, KeyText)
    try:
        digest = keys.parse(body.key).sha256
    except UnauthenticatedError:
        return reply(KeyVerdict(valid=False, code="malformed"))
    return reply(await gateway_of(request).ask(VERIFY_KEY, VerifyKey(tenant_id, digest)))


def _named(request: Call, key_id: str) -> KeyRef:
    return KeyRef(request.auth.tenant_id, path_uuid(key_id, "key_id"))


HANDLERS = [create_key, list_keys, get_key, get_key_usage, rotate_key, revoke_key, verify_key]
