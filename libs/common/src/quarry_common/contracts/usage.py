"""Counted limits, and what is metered per tenant and day (UTC).

The limit travels with the principal, the count lives with the service that owns what is counted: documents
and bytes in the indexer, searches in the tenants service, which leases blocks of a day's quota to gateways.
"""

from datetime import date
from enum import StrEnum
from uuid import UUID

import msgspec

from quarry_common.contracts.rpc import Nothing, RpcMethod


class Quota(StrEnum):
    """A counted limit, as errors and events name it."""

    DOCUMENTS = "documents"
    STORAGE = "storage_mb"
    SEARCHES = "searches_per_day"
    KEYS = "keys"
    WEBHOOKS = "webhooks"


class LeaseSearches(msgspec.Struct, frozen=True):
    """Asks for searches of a day's quota; up to `wanted` are granted, fewer near the limit.

    With it comes what was answered since the last time. A gateway that dies takes what it holds with it: then
    fewer are admitted that day, never more.
    """

    tenant_id: UUID
    day: date
    limit: int | None
    wanted: int
    answered: int
    lease_id: UUID
    """Lets a repetition count once."""
    needed: int = 1
    """Fewer are of no use: where not so many are left, none is granted."""


class SearchLease(msgspec.Struct, frozen=True):
    """How many searches were granted; none means that the day's quota is used up or leased."""

    granted: int


class SettleSearches(msgspec.Struct, frozen=True):
    """Gives back what is not needed, and tells what was answered meanwhile."""

    tenant_id: UUID
    day: date
    limit: int | None
    unused: int
    answered: int
    lease_id: UUID


class SearchTally(msgspec.Struct, frozen=True):
    """Searches of a tenant that one gateway answered since it told last."""

    tenant_id: UUID
    day: date
    limit: int | None
    """The quota they were leased of; without one they were not."""
    answered: int


class ReportSearches(msgspec.Struct, frozen=True):
    """Tells of answered searches of many tenants. `report_id` lets a repetition count once."""

    report_id: UUID
    tallies: list[SearchTally]


class SearchDay(msgspec.Struct, frozen=True):
    """Searches that were answered on a day."""

    day: date
    searches: int


class UsageRange(msgspec.Struct, frozen=True):
    """Asks what a tenant used, from the first day to the last, both included."""

    tenant_id: UUID
    first: date
    last: date


class SearchDays(msgspec.Struct, frozen=True):
    """By day, oldest first; days without any are left out."""

    days: list[SearchDay]


class IndexDay(msgspec.Struct, frozen=True):
    """What was taken in on a day, and what was stored at its end."""

    day: date
    documents_added: int
    """Versions accepted, of new documents and of changed ones."""
    bytes_added: int
    chunks: int
    """Passages made."""
    tokens: int
    """Tokens in them."""
    documents: int
    storage_bytes: int


class IndexDays(msgspec.Struct, frozen=True):
    """By day, oldest first; days on which nothing changed are left out."""

    days: list[IndexDay]
    before: IndexDay | None = None
    """The last such day before the first that was asked for: what is stored is the same until the next."""


class StoredNow(msgspec.Struct, frozen=True):
    """What a tenant has now."""

    documents: int
    storage_bytes: int


class TenantRef(msgspec.Struct, frozen=True):
    """Names a tenant."""

    tenant_id: UUID


LEASE_SEARCHES = RpcMethod("tenants", "lease_searches", LeaseSearches, SearchLease)
SETTLE_SEARCHES = RpcMethod("tenants", "settle_searches", SettleSearches, Nothing)
REPORT_SEARCHES = RpcMethod("tenants", "report_searches", ReportSearches, Nothing)
SEARCH_DAYS = RpcMethod("tenants", "search_days", UsageRange, SearchDays)
INDEX_DAYS = RpcMethod("indexer", "usage_days", UsageRange, IndexDays)
STORED_NOW = RpcMethod("indexer", "stored_now", TenantRef, StoredNow)
