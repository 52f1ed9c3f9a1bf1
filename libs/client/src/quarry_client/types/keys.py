"""API keys."""

from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

KeyLabelName = Literal["live", "test"]
RoleName = Literal["admin", "editor", "reader"]

KEY_LABELS: Final[tuple[KeyLabelName, ...]] = ("live", "test")
ROLES: Final[tuple[RoleName, ...]] = ("admin", "editor", "reader")


class ApiKey(msgspec.Struct, frozen=True):
    """A key without its secret."""

    id: UUID
    name: str
    prefix: str
    """The first characters of the key, enough to recognise it."""
    label: str
    scopes: list[str]
    created_at: datetime
    metadata: dict[str, str] = {}
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    collections: list[str] | None = None
    """Those that it may use; None is all."""
    networks: list[str] = []
    """CIDR blocks that it may be used from; none is all."""
    principals: list[str] = []
    """Its searches find documents that allow one of these, too."""
    requests_per_second: int | None = None
    """Its own limit, beside the tenant's."""
    rotated_from: UUID | None = None
    """The key that this one replaces."""
    last_used_at: datetime | None = None
    """To a few seconds."""


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key with its secret, which cannot be read again."""

    key: str
    api_key: ApiKey


class KeyPage(msgspec.Struct, frozen=True):
    """Some keys and where to go on."""

    keys: list[ApiKey]
    next_cursor: str | None = None


class KeyDay(msgspec.Struct, frozen=True):
    """How a key was used on a day (UTC)."""

    day: date
    requests: int
    denied: int
    """Of them, those that were refused: scope, network, collection, rate, quota."""


class KeyUsage(msgspec.Struct, frozen=True):
    """How a key was used, latest day first; days without use are left out."""

    key_id: UUID
    days: list[KeyDay]
    last_used_at: datetime | None = None


class KeyVerdict(msgspec.Struct, frozen=True):
    """Whether a key would be let in now."""

    valid: bool
    code: str
    """`valid`, or why not: `malformed`, `unknown`, `revoked`, `expired`, `disabled`."""
    api_key: ApiKey | None = None
    """Of a key of the asking tenant."""
