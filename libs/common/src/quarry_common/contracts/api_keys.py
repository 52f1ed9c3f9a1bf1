"""API keys and whom they stand for: `rpc.v1.tenants.*`."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from quarry_common.contracts.audit import Actor, ActorKind
from quarry_common.contracts.rpc import Nothing, RpcMethod
from quarry_common.contracts.tenancy import Quotas, Scope


class KeyLabel(StrEnum):
    """Label in a key's text and in its audit trail; it does not separate data."""

    LIVE = "live"
    TEST = "test"


class Principal(msgspec.Struct, frozen=True):
    """Who is asking: what a key resolves to. `tenant_id` is None for the platform operator."""

    key_id: UUID
    tenant_id: UUID | None
    tenant_slug: str | None
    scopes: frozenset[Scope]
    expires_at: datetime | None = None
    collections: frozenset[str] | None = None
    """Collections that it may use; None is all."""
    networks: tuple[str, ...] = ()
    """CIDR blocks that it may be used from; an empty list is all."""
    principals: frozenset[str] = frozenset()
    """Carried by its searches (see `allowed_principals` of documents)."""
    requests_per_second: int | None = None
    """Its own limit beside the tenant's."""
    rate_bucket: UUID | None = None
    """What its rate is counted on: keys that replace each other share one. None is the key itself."""
    quotas: Quotas | None = None
    """The tenant's; None for the operator."""
    cors_origins: tuple[str, ...] = ()
    kind: ActorKind = ActorKind.KEY


class ApiKey(msgspec.Struct, frozen=True):
    """A key as its owner may see it; the secret is shown once, when it is made."""

    id: UUID
    name: str
    prefix: str
    """The first characters of the key, enough to recognise it."""
    label: KeyLabel
    scopes: list[Scope]
    metadata: dict[str, str]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    collections: list[str] | None = None
    networks: list[str] = []
    principals: list[str] = []
    requests_per_second: int | None = None
    rotated_from: UUID | None = None
    """The key that this one replaces."""
    last_used_at: datetime | None = None
    """To a few seconds."""


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key with its secret, which cannot be read again."""

    key: str
    api_key: ApiKey


class ResolveKey(msgspec.Struct, frozen=True):
    """Asks whose key has this hash."""

    key_sha256: bytes


class Grant(msgspec.Struct, frozen=True):
    """What a key may, and with it the most that a key made by its holder may."""

    scopes: frozenset[Scope]
    collections: frozenset[str] | None = None
    """None is all."""
    networks: tuple[str, ...] = ()
    """CIDR blocks; empty is all."""
    principals: frozenset[str] = frozenset()
    """Of a maker without any, the new key may have whichever: who manages keys manages who reads what."""
    expires_at: datetime | None = None


class CreateKey(msgspec.Struct, frozen=True):
    """Asks for a new key, which may what `grant` says: no more than its maker."""

    tenant_id: UUID
    name: str
    grant: Grant
    maker: Grant
    label: KeyLabel = KeyLabel.LIVE
    metadata: dict[str, str] = {}
    requests_per_second: int | None = None
    idempotency_key: str | None = None
    actor: Actor = Actor()


class ListKeys(msgspec.Struct, frozen=True):
    """Asks for a tenant's keys in the order of their creation."""

    tenant_id: UUID
    limit: int = 50
    cursor: str | None = None


class KeyPage(msgspec.Struct, frozen=True):
    """Some keys and where to go on."""

    keys: list[ApiKey]
    next_cursor: str | None = None


class KeyRef(msgspec.Struct, frozen=True):
    """Names one key of a tenant."""

    tenant_id: UUID
    key_id: UUID


class RevokeKey(msgspec.Struct, frozen=True):
    """Asks that a key be refused from now on."""

    tenant_id: UUID
    key_id: UUID
    actor: Actor = Actor()


class RotateKey(msgspec.Struct, frozen=True):
    """Asks for a key that may what this one may; the old one ends after the overlap."""

    tenant_id: UUID
    key_id: UUID
    maker: Grant
    overlap_seconds: int
    idempotency_key: str | None = None
    actor: Actor = Actor()


class KeyDay(msgspec.Struct, frozen=True):
    """How a key was used on a day (UTC)."""

    day: date
    requests: int
    denied: int
    """Of them, those that were refused with 403 or 429: scope, network, a named collection, rate, quota."""


class KeyUsage(msgspec.Struct, frozen=True):
    """How a key was used, latest day first; days without use are left out."""

    key_id: UUID
    last_used_at: datetime | None
    days: list[KeyDay]


class KeyTally(msgspec.Struct, frozen=True):
    """What one gateway saw of a key since it told last."""

    tenant_id: UUID
    key_id: UUID
    day: date
    requests: int
    denied: int
    last_used_at: datetime


class ReportKeyUse(msgspec.Struct, frozen=True):
    """Tells how keys were used. `report_id` lets a repetition count once."""

    report_id: UUID
    tallies: list[KeyTally]


class VerifyKey(msgspec.Struct, frozen=True):
    """Asks what a key of this tenant is; for whoever holds its text."""

    tenant_id: UUID
    key_sha256: bytes


class KeyVerdict(msgspec.Struct, frozen=True):
    """Whether a key would be let in now."""

    valid: bool
    code: str
    """`valid`, or why not: `malformed`, `unknown`, `revoked`, `expired`, `disabled`."""
    api_key: ApiKey | None = None
    """Of a key of the asking tenant."""


RESOLVE_KEY = RpcMethod("tenants", "resolve_key", ResolveKey, Principal)
CREATE_KEY = RpcMethod("tenants", "create_key", CreateKey, CreatedKey)
LIST_KEYS = RpcMethod("tenants", "list_keys", ListKeys, KeyPage)
GET_KEY = RpcMethod("tenants", "get_key", KeyRef, ApiKey)
REVOKE_KEY = RpcMethod("tenants", "revoke_key", RevokeKey, ApiKey)
ROTATE_KEY = RpcMethod("tenants", "rotate_key", RotateKey, CreatedKey)
VERIFY_KEY = RpcMethod("tenants", "verify_key", VerifyKey, KeyVerdict)
KEY_USAGE = RpcMethod("tenants", "key_usage", KeyRef, KeyUsage)
REPORT_KEY_USE = RpcMethod("tenants", "report_key_use", ReportKeyUse, Nothing)
