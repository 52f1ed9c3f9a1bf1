"""API keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_client import types
from quarry_client.calls.call import Call, get, post


def create_key(
    name: str,
    *,
    role: types.RoleName | None = None,
    scopes: Sequence[str] | None = None,
    label: types.KeyLabelName = "live",
    expires_at: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
    collections: Sequence[str] | None = None,
    networks: Sequence[str] | None = None,
    principals: Sequence[str] | None = None,
    requests_per_second: int | None = None,
    idempotency_key: str | None = None,
) -> Call[types.CreatedKey]:
    """Make an API key with a role or with scopes; its secret is in this answer and nowhere else.

    `collections` are all that it may use, `networks` (CIDR) all that it may be used from. Who repeats the
    request with its idempotency key within a day gets the same answer.
    """
    body = {
        "name": name,
        "role": role,
        "scopes": scopes,
        "label": label,
        "expires_at": expires_at,
        "metadata": metadata,
        "collections": collections,
        "networks": networks,
        "principals": principals,
        "requests_per_second": requests_per_second,
    }
    return post("/api/keys", body, types.CreatedKey, idempotency_key=idempotency_key)


def list_keys(*, limit: int = 50, cursor: str | None = None) -> Call[types.KeyPage]:
    """List the tenant's keys without their secrets."""
    return get("/api/keys", types.KeyPage, limit=limit, cursor=cursor)


def get_key(key_id: UUID) -> Call[types.ApiKey]:
    """Read what a key may, and when it was used last."""
    return get(f"/api/keys/{key_id}", types.ApiKey)


def key_usage(key_id: UUID) -> Call[types.KeyUsage]:
    """Read how often a key was used on each of the last 90 days."""
    return get(f"/api/keys/{key_id}/usage", types.KeyUsage)


def rotate_key(
    key_id: UUID, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
) -> Call[types.CreatedKey]:
    """Make a key that may what this one may; the old one ends after the overlap, by default in a day."""
    body = {"overlap_seconds": overlap_seconds}
    return post(f"/api/keys/{key_id}/rotate", body, types.CreatedKey, idempotency_key=idempotency_key)


def verify_key(key: str) -> Call[types.KeyVerdict]:
    """Ask whether a key of the tenant would be let in now, and what it may."""
    # A POST only so that the key stands in no address: it changes nothing.
    body = msgspec.json.encode({"key": key})
    return Call("POST", "/api/keys/verify", types.KeyVerdict, body=body, repeatable=True)


def revoke_key(key_id: UUID) -> Call[types.ApiKey]:
    """Have a key refused from now on."""
    return Call("DELETE", f"/api/keys/{key_id}", types.ApiKey, repeatable=True)
