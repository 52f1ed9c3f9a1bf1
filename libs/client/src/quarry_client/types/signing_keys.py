"""Signing keys of search tokens."""

from datetime import datetime
from uuid import UUID

import msgspec


class SigningKey(msgspec.Struct, frozen=True):
    """The public half of a key that signs search tokens."""

    id: UUID
    name: str
    public_key: str
    """32 bytes, base64url without padding."""
    created_at: datetime
    collections: list[str] | None = None
    """Collections that its tokens may search; None is all."""
    revoke_before: datetime | None = None
    """Tokens issued before are refused."""
    revoked_at: datetime | None = None


class SigningKeys(msgspec.Struct, frozen=True):
    """The tenant's signing keys in the order of their creation."""

    signing_keys: list[SigningKey]


class CreatedSigningKey(msgspec.Struct, frozen=True):
    """A new signing key, with its private half (PKCS #8 in PEM) when the platform made it."""

    signing_key: SigningKey
    private_key: str | None = None
