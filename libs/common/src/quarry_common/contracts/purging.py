"""Removing a tenant from every store. Each service removes its own part when it is asked, piece by piece."""

from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.rpc import RpcMethod

Counts = dict[str, int]
"""By store: `postgres.<schema>.<table>`, `vectors.points`, `blobs.objects`, `blobs.bytes`, `cache.entries`,
`streams.messages`. Among what is left, `no_answer.<service>` stands for what a service has that did not
answer."""


class PurgeTenant(msgspec.Struct, frozen=True):
    """Asks a service to remove what it has of a tenant, for at most so long; harmless to repeat."""

    tenant_id: UUID
    seconds: float = 5.0


class Purged(msgspec.Struct, frozen=True):
    """What was removed by this request, and what was left when it ended: all zero when nothing is."""

    removed: Counts
    left: Counts


class PurgeReceipt(msgspec.Struct, frozen=True):
    """What a tenant's purge removed, and what was found when everything was counted again afterwards."""

    tenant_id: UUID
    slug: str
    requested_at: datetime
    started_at: datetime
    finished_at: datetime | None
    """None while it goes on."""
    removed: Counts
    left: Counts
    """All zero when the purge is complete."""
    verified: bool
    audit_entries: int
    audit_head_hash: str
    """Of the tenant's own audit log, which is removed, too."""


PURGE_DOCUMENTS = RpcMethod("indexer", "purge_tenant", PurgeTenant, Purged)


class ReceiptOf(msgspec.Struct, frozen=True):
    """Asks for the receipt of a tenant's purge."""

    slug: str


GET_RECEIPT = RpcMethod("tenants", "purge_receipt", ReceiptOf, PurgeReceipt)
