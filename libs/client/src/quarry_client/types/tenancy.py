"""Tenants and keys."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

KeyLabelName = Literal["live", "test"]

KEY_LABELS: Final[tuple[KeyLabelName, ...]] = ("live", "test")


class ApiKey(msgspec.Struct, frozen=True):
    """A key without its secret."""

    id: UUID
    name: str
    prefix: str
    label: str
    scopes: list[str]
    created_at: datetime
    metadata: dict[str, str] = {}
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key with its secret, which cannot be read again."""

    key: str
    api_key: ApiKey


class KeyPage(msgspec.Struct, frozen=True):
    """Some keys and where to go on."""

    keys: list[ApiKey]
    next_cursor: str | None = None


class Tenant(msgspec.Struct, frozen=True):
    """An organization whose data is apart from every other's."""

    id: UUID
    slug: str
    name: str
    created_at: datetime
    disabled: bool = False


class TenantPage(msgspec.Struct, frozen=True):
    """Some tenants and where to go on."""

    tenants: list[Tenant]
    next_cursor: str | None = None
