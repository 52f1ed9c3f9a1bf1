"""Organizations: their life cycle, plans and quotas, and what a caller may do in one: `rpc.v1.tenants.*`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.audit import Actor
from quarry_common.contracts.rpc import RpcMethod

PLATFORM_TENANT = UUID(int=0)
"""Stands for the installation itself where a subject, an event or an audit log asks for a tenant."""

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$(?!\n)", examples=["acme"])]
Name = Annotated[str, Meta(min_length=1, max_length=200, examples=["Acme Ltd"])]
Origin = Annotated[
    str,
    Meta(
        max_length=300,
        pattern=r"^(?:https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?|\*)$(?!\n)",
        examples=["https://www.acme.example"],
    ),
]
"""Scheme, host and port of a web page, as browsers send it in `Origin`."""


class Scope(StrEnum):
    """What a key may do. The scope that a route asks for is declared beside the route."""

    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    SEARCH = "search"
    COLLECTIONS_READ = "collections:read"
    COLLECTIONS_WRITE = "collections:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    TENANT_READ = "tenant:read"
    """The tenant itself: its quotas, usage and domains."""
    TENANT_WRITE = "tenant:write"
    AUDIT_READ = "audit:read"
    EVENTS_READ = "events:read"
    """Every event of the tenant, as it comes."""
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    ANALYTICS_READ = "analytics:read"
    """What was searched, by whom, and what was found."""
    ANALYTICS_WRITE = "analytics:write"
    """Deleting what is known of a user, and judged sets of queries."""
    PLATFORM = "platform"
    """Reserved for the platform operator: tenants themselves, and acting for any of them."""


TENANT_SCOPES: Final = frozenset(Scope) - {Scope.PLATFORM}


class Role(StrEnum):
    """A set of scopes that has a name."""

    ADMIN = "admin"
    EDITOR = "editor"
    READER = "reader"


_READER: Final = frozenset({Scope.SEARCH, Scope.DOCUMENTS_READ, Scope.COLLECTIONS_READ})
ROLE_SCOPES: Final = {
    Role.ADMIN: TENANT_SCOPES,
    Role.EDITOR: _READER | {Scope.DOCUMENTS_WRITE, Scope.COLLECTIONS_WRITE},
    Role.READER: _READER,
}

_Limit = Annotated[int, Meta(ge=0, le=2**53)] | None


class Quotas(msgspec.Struct, frozen=True):
    """What a tenant may have; null is no limit. A limit itself can be reached."""

    documents: _Limit
    storage_mb: _Limit
    """Bodies of the documents' latest versions, in MiB."""
    searches_per_day: _Limit
    """Answered ones, from midnight to midnight UTC."""
    keys: _Limit
    """Neither revoked nor expired."""
    webhooks: _Limit
    requests_per_second: _Limit
    """Of each class of endpoints: searching, reading, writing, administering."""
    burst: _Limit
    """Requests of a class that may come at once after a rest; null is as many as come in a second."""

    @property
    def storage_bytes(self) -> int | None:
        """`storage_mb` in bytes."""
        return None if self.storage_mb is None else self.storage_mb << 20


class Plan(StrEnum):
    """Quotas that have a name."""

    STARTER = "starter"
    STANDARD = "standard"
    BUSINESS = "business"
    UNLIMITED = "unlimited"


PLAN_QUOTAS: Final = {
    Plan.STARTER: Quotas(
        documents=1_000, storage_mb=1_024, searches_per_day=1_000, keys=10, webhooks=5,
        requests_per_second=20, burst=40,
    ),
    Plan.STANDARD: Quotas(
        documents=10_000, storage_mb=10_240, searches_per_day=10_000, keys=100, webhooks=20,
        requests_per_second=100, burst=200,
    ),
    Plan.BUSINESS: Quotas(
        documents=1_000_000, storage_mb=1_048_576, searches_per_day=1_000_000, keys=1_000, webhooks=100,
        requests_per_second=1_000, burst=2_000,
    ),
    Plan.UNLIMITED: Quotas(
        documents=None, storage_mb=None, searches_per_day=None, keys=None, webhooks=None,
        requests_per_second=None, burst=None,
    ),
}  # fmt: skip


class QuotaChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Quotas in which a tenant differs from its plan. What is left out is as in the plan."""

    documents: _Limit | msgspec.UnsetType = msgspec.UNSET
    storage_mb: _Limit | msgspec.UnsetType = msgspec.UNSET
    searches_per_day: _Limit | msgspec.UnsetType = msgspec.UNSET
    keys: _Limit | msgspec.UnsetType = msgspec.UNSET
    webhooks: _Limit | msgspec.UnsetType = msgspec.UNSET
    requests_per_second: _Limit | msgspec.UnsetType = msgspec.UNSET
    burst: _Limit | msgspec.UnsetType = msgspec.UNSET


def quotas_of(plan: Plan, changes: QuotaChanges) -> Quotas:
    """Return the quotas of a tenant with `plan` that differs from it by `changes`."""
    given = {
        name: value for name, value in msgspec.structs.asdict(changes).items() if value is not msgspec.UNSET
    }
    return msgspec.structs.replace(PLAN_QUOTAS[plan], **given)


class TenantState(StrEnum):
    """Where a tenant stands in its life."""

    ACTIVE = "active"
    DISABLED = "disabled"
    """Its keys are refused; nothing else has changed."""
    DELETING = "deleting"
    """It is disabled, and purged when its time of grace is over, unless it is restored."""
    PURGING = "purging"
    """Its data is being removed; there is no way back."""
    PURGED = "purged"
    """Nothing of it is left but its name and the receipt."""


class Tenant(msgspec.Struct, frozen=True):
    """An organization whose data is apart from every other's."""

    id: UUID
    slug: str
    name: str
    plan: Plan
    quotas: Quotas
    """Those in force: the plan's, and where the tenant differs from it its own."""
    quota_changes: QuotaChanges
    state: TenantState
    created_at: datetime
    cors_origins: list[str] = []
    """Web pages whose scripts may use the tenant's keys; `*` is all."""
    purge_at: datetime | None = None
    """When a tenant that is being deleted is purged."""


class ResolveSlug(msgspec.Struct, frozen=True):
    """Asks for the tenant of a slug."""

    slug: str


class GetTenant(msgspec.Struct, frozen=True):
    """Asks for a tenant by its id."""

    tenant_id: UUID


class CreateTenant(msgspec.Struct, frozen=True):
    """Asks for a new tenant."""

    slug: Slug
    name: Name
    plan: Plan = Plan.STANDARD
    quota_changes: QuotaChanges = QuotaChanges()
    cors_origins: list[str] = []
    idempotency_key: str | None = None
    actor: Actor = Actor()


class UpdateTenant(msgspec.Struct, frozen=True):
    """Asks that a tenant be changed. What is None stays; `quota_changes` takes the place of those before."""

    tenant_id: UUID
    name: Name | None = None
    plan: Plan | None = None
    quota_changes: QuotaChanges | None = None
    cors_origins: list[str] | None = None
    disabled: bool | None = None
    actor: Actor = Actor()


class DeleteTenant(msgspec.Struct, frozen=True):
    """Asks that a tenant be disabled now and purged after the grace."""

    tenant_id: UUID
    grace_seconds: int | None = None
    """None is the installation's."""
    actor: Actor = Actor()


class RestoreTenant(msgspec.Struct, frozen=True):
    """Asks that a tenant which is not purged yet be kept; it is disabled still."""

    tenant_id: UUID
    idempotency_key: str | None = None
    actor: Actor = Actor()


class ListTenants(msgspec.Struct, frozen=True):
    """Asks for tenants in the order of their creation."""

    limit: int = 50
    cursor: str | None = None


class TenantPage(msgspec.Struct, frozen=True):
    """Some tenants and where to go on."""

    tenants: list[Tenant]
    next_cursor: str | None = None


RESOLVE_SLUG = RpcMethod("tenants", "resolve_slug", ResolveSlug, Tenant)
GET_TENANT = RpcMethod("tenants", "get_tenant", GetTenant, Tenant)
CREATE_TENANT = RpcMethod("tenants", "create_tenant", CreateTenant, Tenant)
UPDATE_TENANT = RpcMethod("tenants", "update_tenant", UpdateTenant, Tenant)
DELETE_TENANT = RpcMethod("tenants", "delete_tenant", DeleteTenant, Tenant)
RESTORE_TENANT = RpcMethod("tenants", "restore_tenant", RestoreTenant, Tenant)
LIST_TENANTS = RpcMethod("tenants", "list_tenants", ListTenants, TenantPage)
