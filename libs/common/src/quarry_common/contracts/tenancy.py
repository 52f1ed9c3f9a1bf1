"""Tenants, keys and principals: `rpc.v1.tenants.*`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.rpc import RpcMethod

PLATFORM_TENANT = UUID(int=0)
"""Stands for the installation itself where a subject or event asks for a tenant."""

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$(?!\n)", examples=["acme"])]
Name = Annotated[str, Meta(min_length=1, max_length=200, examples=["Acme Ltd"])]


class Scope(StrEnum):
    """What a key may do. The scope that a route asks for is declared beside the route."""

    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    SEARCH = "search"
    COLLECTIONS_READ = "collections:read"
    COLLECTIONS_WRITE = "collections:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    PLATFORM = "platform"
    """Reserved for the platform operator: tenants themselves, and acting for any of them."""


TENANT_SCOPES = frozenset(Scope) - {Scope.PLATFORM}


class KeyLabel(StrEnum):
    """Label in a key's text and in its audit trail; it does not separate data."""

    LIVE = "live"
    TEST = "test"


class Tenant(msgspec.Struct, frozen=True):
    """An organization whose data is apart from every other's."""

    id: UUID
    slug: str
    name: str
    created_at: datetime
    disabled: bool = False


class Principal(msgspec.Struct, frozen=True):
    """Who is asking: what a key resolves to. `tenant_id` is None for the platform operator."""

    key_id: UUID
    tenant_id: UUID | None
    tenant_slug: str | None
    scopes: frozenset[Scope]
    expires_at: datetime | None = None


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


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key with its secret, which cannot be read again."""

    key: str
    api_key: ApiKey


class ResolveKey(msgspec.Struct, frozen=True):
    """Asks whose key has this hash."""

    key_sha256: bytes


class ResolveSlug(msgspec.Struct, frozen=True):
    """Asks for the tenant of a slug."""

    slug: str


class CreateTenant(msgspec.Struct, frozen=True):
    """Asks for a new tenant."""

    slug: Slug
    name: Name
    idempotency_key: str | None = None


class ListTenants(msgspec.Struct, frozen=True):
    """Asks for tenants in the order of their creation."""

    limit: int = 50
    cursor: str | None = None


class TenantPage(msgspec.Struct, frozen=True):
    """Some tenants and where to go on."""

    tenants: list[Tenant]
    next_cursor: str | None = None


class CreateKey(msgspec.Struct, frozen=True):
    """Asks for a new key. `granted_by` bounds its scopes: a key never grants more than its maker holds."""

    tenant_id: UUID
    name: str
    scopes: frozenset[Scope]
    granted_by: frozenset[Scope]
    label: KeyLabel = KeyLabel.LIVE
    metadata: dict[str, str] = {}
    expires_at: datetime | None = None
    idempotency_key: str | None = None


class ListKeys(msgspec.Struct, frozen=True):
    """Asks for a tenant's keys in the order of their creation."""

    tenant_id: UUID
    limit: int = 50
    cursor: str | None = None


class KeyPage(msgspec.Struct, frozen=True):
    """Some keys and where to go on."""

    keys: list[ApiKey]
    next_cursor: str | None = None


class RevokeKey(msgspec.Struct, frozen=True):
    """Asks that a key be refused from now on."""

    tenant_id: UUID
    key_id: UUID


RESOLVE_KEY = RpcMethod("tenants", "resolve_key", ResolveKey, Principal)
RESOLVE_SLUG = RpcMethod("tenants", "resolve_slug", ResolveSlug, Tenant)
CREATE_TENANT = RpcMethod("tenants", "create_tenant", CreateTenant, Tenant)
LIST_TENANTS = RpcMethod("tenants", "list_tenants", ListTenants, TenantPage)
CREATE_KEY = RpcMethod("tenants", "create_key", CreateKey, CreatedKey)
LIST_KEYS = RpcMethod("tenants", "list_keys", ListKeys, KeyPage)
REVOKE_KEY = RpcMethod("tenants", "revoke_key", RevokeKey, ApiKey)
