"""What a tenant has, kept with every change of its documents, and what is told of its quotas."""

from collections.abc import Collection
from uuid import UUID

from quarry_common.contracts.documents import Room
from quarry_common.contracts.usage import Quota
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Connection
from quarry_indexer import SERVICE
from quarry_indexer.domain import quotas
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.repository import counts
from quarry_indexer.repository.counts import Counted


async def change(connection: Connection, tenant_id: UUID, growth: Usage) -> None:
    """Count documents that went, or were found miscounted; the last statements of their transaction."""
    if growth == Usage():
        return
    counted = await counts.add(connection, tenant_id, growth, Usage())
    told = quotas.fallen(counted.told, counted.used, growth)
    if told != counted.told:
        await counts.set_told(connection, tenant_id, told)


async def tell(
    connection: Connection,
    tenant_id: UUID,
    counted: Counted,
    growth: Usage,
    room: Room,
    refused: Collection[Quota] = (),
) -> None:
    """Tell how far quotas are used after a change by `growth`, as far as that is not told yet.

    The counts' row is held.
    """
    known = quotas.fallen(counted.told, counted.used, growth)
    told, events = quotas.tell(known, counted.used, room, refused)
    if told != counted.told:
        await counts.set_told(connection, tenant_id, told)
    await publish(connection, [Message(event) for event in events], service=SERVICE, tenant_id=tenant_id)
