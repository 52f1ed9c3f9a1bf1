"""Keys, tenants, and how the installation is."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from quarry_client import types
from quarry_client.calls.call import Call, get, post


def create_key(
    name: str,
    *,
    scopes: list[str],
    label: types.KeyLabelName = "live",
    expires_at: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Call[types.CreatedKey]:
    """Make an API key; its secret is in this answer and nowhere else.

    Who repeats the request with its idempotency key within a day gets the same answer.
    """
    body = {"name": name, "scopes": scopes, "label": label, "expires_at": expires_at, "metadata": metadata}
    return post("/api/keys", body, types.CreatedKey, idempotency_key=idempotency_key)


def list_keys(*, limit: int = 50, cursor: str | None = None) -> Call[types.KeyPage]:
    """List the tenant's keys without their secrets."""
    return get("/api/keys", types.KeyPage, limit=limit, cursor=cursor)


def revoke_key(key_id: UUID) -> Call[None]:
    """Have a key refused from now on."""
    return Call("DELETE", f"/api/keys/{key_id}", type(None), repeatable=True)


def create_tenant(slug: str, name: str, *, idempotency_key: str | None = None) -> Call[types.Tenant]:
    """Create a tenant; asks for the operator's key."""
    body = {"slug": slug, "name": name}
    return post("/api/admin/tenants", body, types.Tenant, idempotency_key=idempotency_key)


def list_tenants(*, limit: int = 50, cursor: str | None = None) -> Call[types.TenantPage]:
    """List tenants in the order of their creation; asks for the operator's key."""
    return get("/api/admin/tenants", types.TenantPage, limit=limit, cursor=cursor)


def health() -> Call[types.Health]:
    """Read how the installation and its dependencies are, also when it is unable to serve."""
    return Call("GET", "/api/health", types.Health, accepted_statuses=frozenset({503}))


def version() -> Call[types.Version]:
    """Read which release answers."""
    return get("/api/version", types.Version)
