"""Signing keys of search tokens."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from quarry_client import types
from quarry_client.calls.call import Call, get, post


def create_signing_key(
    name: str,
    *,
    public_key: str | None = None,
    collections: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[types.CreatedSigningKey]:
    """Make a signing key, or hand in the public half of one; a private half is in this answer alone.

    `collections` are those that its tokens may search, None all. Who repeats the request with its idempotency
    key within a day gets the same answer.
    """
    body = {"name": name, "public_key": public_key, "collections": collections}
    return post("/api/signing-keys", body, types.CreatedSigningKey, idempotency_key=idempotency_key)


def list_signing_keys() -> Call[types.SigningKeys]:
    """List the tenant's signing keys, revoked ones too."""
    return get("/api/signing-keys", types.SigningKeys)


def revoke_tokens(
    signing_key_id: UUID, *, before: datetime | None = None, idempotency_key: str | None = None
) -> Call[types.SigningKey]:
    """Have tokens refused that were issued before a moment, or without one the key itself, for ever."""
    path = f"/api/signing-keys/{signing_key_id}/revoke"
    return post(path, {"before": before}, types.SigningKey, idempotency_key=idempotency_key)
