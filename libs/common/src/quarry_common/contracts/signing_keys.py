"""Signing keys: with one, a tenant's own server makes short-lived search tokens without asking anybody."""

from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.api_keys import Grant
from quarry_common.contracts.audit import Actor
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.contracts.tenancy import Quotas

MAX_TOKEN_SECONDS = 86_400


class SigningKey(msgspec.Struct, frozen=True):
    """An Ed25519 key (RFC 8037). Only the public half is kept."""

    id: UUID
    name: str
    public_key: str
    """32 bytes, base64url without padding: the `x` of a JSON Web Key."""
    created_at: datetime
    collections: list[str] | None = None
    """Collections that its tokens may search; null is all."""
    revoke_before: datetime | None = None
    """Tokens issued before are refused."""
    revoked_at: datetime | None = None


class CreateSigningKey(msgspec.Struct, frozen=True):
    """Asks for a signing key: a new pair, or the public half of one that the tenant has made.

    Its tokens may search `collections`, with whichever principals, from everywhere: no more than `maker` may.
    """

    tenant_id: UUID
    name: str
    maker: Grant
    public_key: str | None = None
    collections: frozenset[str] | None = None
    idempotency_key: str | None = None
    actor: Actor = Actor()


class CreatedSigningKey(msgspec.Struct, frozen=True):
    """A new signing key, with its private half when that was made here; it cannot be read again."""

    signing_key: SigningKey
    private_key: str | None
    """PKCS #8 in PEM."""


class ListSigningKeys(msgspec.Struct, frozen=True):
    """Asks for a tenant's signing keys in the order of their creation."""

    tenant_id: UUID


class SigningKeys(msgspec.Struct, frozen=True):
    """A tenant's signing keys; there are few."""

    signing_keys: list[SigningKey]


class RevokeTokens(msgspec.Struct, frozen=True):
    """Asks that tokens of a key be refused: those issued before a moment, or all for ever."""

    tenant_id: UUID
    signing_key_id: UUID
    before: datetime | None = None
    """None revokes the key itself."""
    idempotency_key: str | None = None
    actor: Actor = Actor()


class ResolveSigningKey(msgspec.Struct, frozen=True):
    """Asks for the key that a token names."""

    signing_key_id: UUID


class TokenIssuer(msgspec.Struct, frozen=True):
    """Whose tokens a signing key makes, and what they may."""

    signing_key_id: UUID
    tenant_id: UUID
    tenant_slug: str
    public_key: str
    quotas: Quotas
    collections: frozenset[str] | None = None
    revoke_before: datetime | None = None
    cors_origins: tuple[str, ...] = ()


CREATE_SIGNING_KEY = RpcMethod("tenants", "create_signing_key", CreateSigningKey, CreatedSigningKey)
LIST_SIGNING_KEYS = RpcMethod("tenants", "list_signing_keys", ListSigningKeys, SigningKeys)
REVOKE_TOKENS = RpcMethod("tenants", "revoke_tokens", RevokeTokens, SigningKey)
RESOLVE_SIGNING_KEY = RpcMethod("tenants", "resolve_signing_key", ResolveSigningKey, TokenIssuer)
