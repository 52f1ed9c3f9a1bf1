"""Tenants: their plans and quotas, their life, and how each sees itself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, TypedDict
from uuid import UUID

import msgspec

PlanName = Literal["starter", "standard", "business", "unlimited"]

PLANS: Final[tuple[PlanName, ...]] = ("starter", "standard", "business", "unlimited")

QuotaChanges = Mapping[str, int | None]
"""Quotas, by name, in which a tenant differs from its plan; None is no limit."""


class Quotas(msgspec.Struct, frozen=True):
    """What a tenant may have; None is no limit."""

    documents: int | None = None
    storage_mb: int | None = None
    """Bodies of the documents' latest versions, in MiB."""
    searches_per_day: int | None = None
    """From midnight to midnight UTC."""
    keys: int | None = None
    """Neither revoked nor expired."""
    webhooks: int | None = None
    requests_per_second: int | None = None
    """Of each class of endpoints: searching, reading, writing, administering."""
    burst: int | None = None
    """Requests of a class that may come at once after a rest; None is as many as come in a second."""


class Tenant(msgspec.Struct, frozen=True):
    """An organization whose data is apart from every other's."""

    id: UUID
    slug: str
    name: str
    created_at: datetime
    plan: str = "standard"
    quotas: Quotas = Quotas()
    """Those in force: the plan's, and where the tenant differs from it its own."""
    quota_changes: dict[str, int | None] = {}
    """Its own alone."""
    state: str = "active"
    """`active`, `disabled`, `deleting`, `purging`, `purged`."""
    cors_origins: list[str] = []
    """Web pages whose scripts may call the API; `*` is all."""
    purge_at: datetime | None = None
    """When a tenant that is being deleted is purged."""


class TenantPage(msgspec.Struct, frozen=True):
    """Some tenants and where to go on."""

    tenants: list[Tenant]
    next_cursor: str | None = None


class TenantChanges(TypedDict, total=False):
    """What may change of a tenant; quotas and origins take the place of those before."""

    name: str
    plan: PlanName
    quotas: QuotaChanges
    cors_origins: list[str]
    disabled: bool
    """Whether its keys are refused."""


class PurgeReceipt(msgspec.Struct, frozen=True):
    """What a tenant's purge removed from each store, and what was left when all was counted again."""

    tenant_id: UUID
    slug: str
    requested_at: datetime
    started_at: datetime
    removed: dict[str, int]
    left: dict[str, int]
    """All zero when the purge is complete."""
    verified: bool
    audit_entries: int
    audit_head_hash: str
    """Of the tenant's own audit log, which is removed, too."""
    finished_at: datetime | None = None
    """None while it goes on."""


class Use(msgspec.Struct, frozen=True):
    """What of the quotas is used now."""

    documents: int
    storage_bytes: int
    searches_today: int
    """Since midnight UTC, to a few seconds."""


class OwnTenant(msgspec.Struct, frozen=True):
    """A tenant as it sees itself."""

    slug: str
    name: str
    plan: str
    quotas: Quotas
    use: Use
    created_at: datetime
    cors_origins: list[str] = []
