"""Custom domains."""

from datetime import datetime

import msgspec


class Domain(msgspec.Struct, frozen=True):
    """A name that the tenant claims, and the TXT record that proves it."""

    name: str
    state: str
    """`pending`, `verified` or `lapsed`."""
    record_name: str
    record_value: str
    created_at: datetime
    verified_at: datetime | None = None
    checked_at: datetime | None = None
    problem: str = ""
    """What the last look found instead of the record."""


class Domains(msgspec.Struct, frozen=True):
    """The tenant's domains by name."""

    domains: list[Domain]
