"""Signing keys: with one, a tenant's own server makes search tokens."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from msgspec import Meta

from quarry_common.contracts.collections import CollectionName
from quarry_common.contracts.signing_keys import (
    CREATE_SIGNING_KEY,
    LIST_SIGNING_KEYS,
    REVOKE_TOKENS,
    CreatedSigningKey,
    CreateSigningKey,
    ListSigningKeys,
    RevokeTokens,
    SigningKey,
    SigningKeys,
)
from quarry_common.contracts.tenancy import Name, Scope
from quarry_gateway.forms.validation import path_uuid
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare

TAG = "Signing keys"


class NewSigningKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signing key to be made. Its tokens may search `collections`; left out, or null, all of them."""

    name: Name
    public_key: (
        Annotated[
            str,
            Meta(
                # The last of 43 characters holds four of the 256 bits, and two that are zero.
                pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$(?!\n)",
                description=(
                    "The public half of an Ed25519 key that the tenant has made: `x` of its JWK (32 bytes, "
                    "base64url without padding). Left out, a pair is made."
                ),
            ),
        ]
        | None
    ) = None
    collections: Annotated[list[CollectionName], Meta(max_length=1000)] | None = None


class Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tokens are refused from now on."""

    before: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description=(
                    "Tokens issued before; not in the future. An earlier moment than one before it brings no "
                    "tokens back. Left out, the key itself is revoked, and with it all its tokens for ever."
                ),
            ),
        ]
        | None
    ) = None


@post(
    "/api/signing-keys",
    opt=declare(
        Operation(
            access=Scope.TENANT_WRITE,
            tag=TAG,
            summary="Create a signing key",
            description=(
                "The private half of a pair that is made here is in this answer only; it cannot be read "
                "again, but a request repeated with the same idempotency key has the same answer for a day. "
                "Tokens may do no more than the API key that asks: one without the scope `search`, or with "
                "bounds that tokens do not have, makes no signing key."
            ),
            body=NewSigningKey,
            body_example={"name": "web shop", "collections": ["products"]},
            replies={201: CreatedSigningKey},
            errors=(409,),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def create_signing_key(request: Call) -> Response[bytes]:
    """Make a signing key and answer it with its private half."""
    caller = request.auth
    tenant_id = caller.tenant_id
    key = idempotency_key(request)
    body = await read_json(request, NewSigningKey)
    asked = CreateSigningKey(
        tenant_id=tenant_id,
        name=body.name,
        maker=caller.grant,
        public_key=body.public_key,
        collections=None if body.collections is None else frozenset(body.collections),
        idempotency_key=key,
        actor=request.auth.actor,
    )
    return reply(await gateway_of(request).ask(CREATE_SIGNING_KEY, asked), 201)


@get(
    "/api/signing-keys",
    opt=declare(
        Operation(
            access=Scope.TENANT_READ,
            tag=TAG,
            summary="List signing keys in the order of their creation",
            replies={200: SigningKeys},
        )
    ),
)
async def list_signing_keys(request: Call) -> Response[bytes]:
    """Answer the tenant's signing keys, revoked ones too."""
    asked = ListSigningKeys(request.auth.tenant_id)
    return reply(await gateway_of(request).ask(LIST_SIGNING_KEYS, asked))


@post(
    "/api/signing-keys/{signing_key_id:str}/revoke",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.TENANT_WRITE,
            tag=TAG,
            summary="Revoke tokens of a signing key, or the key itself",
            description="They are refused everywhere within 5 seconds.",
            body=Revocation,
            body_example={"before": "2026-01-31T12:00:00Z"},
            replies={200: SigningKey},
            errors=(404, 409),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def revoke_tokens(request: Call, signing_key_id: FromPath[str]) -> Response[bytes]:
    """Have tokens refused and answer their key."""
    tenant_id = request.auth.tenant_id
    wanted = path_uuid(signing_key_id, "signing_key_id")
    key = idempotency_key(request)
    body = await read_json(request, Revocation)
    asked = RevokeTokens(tenant_id, wanted, body.before, idempotency_key=key, actor=request.auth.actor)
    return reply(await gateway_of(request).ask(REVOKE_TOKENS, asked))


HANDLERS = [create_signing_key, list_signing_keys, revoke_tokens]
