"""What tenants use, by day."""

from datetime import date
from typing import Final, Literal

import msgspec

UsageFormatName = Literal["csv", "ndjson"]

USAGE_FORMATS: Final[tuple[UsageFormatName, ...]] = ("csv", "ndjson")


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant used in a time, and what it had at the end of it."""

    documents_added: int
    """Versions that were taken in, of new documents and of changed ones."""
    bytes_added: int
    chunks: int
    """Passages that were made."""
    tokens: int
    """Tokens in them."""
    searches: int
    """Searches that were answered."""
    documents: int
    storage_bytes: int


class UsageDay(Used, frozen=True):
    """What a tenant used on a day (UTC)."""

    day: date


class Usage(msgspec.Struct, frozen=True):
    """What a tenant used, oldest day first."""

    tenant: str
    days: list[UsageDay]
