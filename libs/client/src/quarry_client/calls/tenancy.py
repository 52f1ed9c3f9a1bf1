"""Tenants, and how the installation is."""

from collections.abc import Sequence
from typing import Unpack
from urllib.parse import quote

import msgspec

from quarry_client import types
from quarry_client.calls.call import Call, get, params_of, post


def create_tenant(
    slug: str,
    name: str,
    *,
    plan: types.PlanName | None = None,
    quotas: types.QuotaChanges | None = None,
    cors_origins: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[types.Tenant]:
    """Create a tenant; asks for the operator's key. The plan is `standard` unless another is given."""
    body = {"slug": slug, "name": name, "plan": plan, "quotas": quotas, "cors_origins": cors_origins}
    return post("/api/admin/tenants", body, types.Tenant, idempotency_key=idempotency_key)


def list_tenants(*, limit: int = 50, cursor: str | None = None) -> Call[types.TenantPage]:
    """List tenants in the order of their creation; asks for the operator's key."""
    return get("/api/admin/tenants", types.TenantPage, limit=limit, cursor=cursor)


def get_tenant(slug: str) -> Call[types.Tenant]:
    """Read a tenant; asks for the operator's key."""
    return get(_place(slug), types.Tenant)


def update_tenant(slug: str, **changes: Unpack[types.TenantChanges]) -> Call[types.Tenant]:
    """Change, disable or enable a tenant; what is left out stays. Asks for the operator's key."""
    body = msgspec.json.encode(changes)
    return Call("PATCH", _place(slug), types.Tenant, body=body, repeatable=True)


def delete_tenant(slug: str, *, grace_seconds: int | None = None) -> Call[types.Tenant]:
    """Disable a tenant now and have it purged from every store later, as the answer tells.

    Asks for the operator's key. Without `grace_seconds` it is the installation's time of grace.
    """
    params = params_of(grace_seconds=grace_seconds)
    return Call("DELETE", _place(slug), types.Tenant, params, repeatable=True)


def restore_tenant(slug: str, *, idempotency_key: str | None = None) -> Call[types.Tenant]:
    """Keep a tenant that waits to be purged; it is disabled still. Asks for the operator's key."""
    return post(f"{_place(slug)}/restore", None, types.Tenant, idempotency_key=idempotency_key)


def purge_receipt(slug: str) -> Call[types.PurgeReceipt]:
    """Read what the purge of a tenant removed and what it left; asks for the operator's key."""
    return get(f"{_place(slug)}/purge", types.PurgeReceipt)


def own_tenant() -> Call[types.OwnTenant]:
    """Read the key's tenant, its quotas and what of them is used."""
    return get("/api/tenant", types.OwnTenant)


def update_own_tenant(*, cors_origins: Sequence[str]) -> Call[types.OwnTenant]:
    """Change which web pages may call the API for the key's tenant."""
    body = msgspec.json.encode({"cors_origins": cors_origins})
    return Call("PATCH", "/api/tenant", types.OwnTenant, body=body, repeatable=True)


def health() -> Call[types.Health]:
    """Read how the installation and its dependencies are, also when it is unable to serve."""
    return Call("GET", "/api/health", types.Health, accepted_statuses=frozenset({503}))


def version() -> Call[types.Version]:
    """Read which release answers."""
    return get("/api/version", types.Version)


def _place(slug: str) -> str:
    return f"/api/admin/tenants/{quote(slug, safe='')}"
