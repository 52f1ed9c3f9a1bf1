"""Indexing again what is there: a next version that says the same, with a job of its own."""

from collections.abc import Sequence
from uuid import UUID

from quarry_common.contracts.commands import IndexDocument
from quarry_common.contracts.filters import Filter
from quarry_common.contracts.jobs import Priority
from quarry_common.ids import new_id
from quarry_common.messaging.outbox import publish_command
from quarry_common.postgres.pool import Connection
from quarry_common.telemetry import tracing
from quarry_indexer.repository import documents, jobs, versions
from quarry_indexer.repository.documents import Chosen
from quarry_indexer.repository.jobs import NewJob


async def reindex(
    connection: Connection,
    tenant_id: UUID,
    *,
    document_ids: Sequence[UUID] | None = None,
    collection: str | None = None,
    filters: Filter | None = None,
    after: UUID | None = None,
    limit: int,
) -> list[Chosen]:
    """Queue up to `limit` documents to be indexed again, by id; return those that were chosen.

    Documents that wait to be indexed anyway are left alone, so doing it twice does no more.
    """
    chosen = await documents.to_reindex(
        connection,
        tenant_id,
        document_ids=document_ids,
        collection=collection,
        filters=filters,
        after=after,
        limit=limit,
    )
    if not chosen:
        return []
    ids = [document.id for document in chosen]
    await versions.again(connection, tenant_id, ids, [document.latest_version for document in chosen])
    await documents.advance_again(
        connection, [(document.id, document.latest_version + 1) for document in chosen]
    )
    trace = tracing.traceparent()
    made = [
        NewJob(
            id=new_id(),
            document_id=document.id,
            version=document.latest_version + 1,
            collection=document.collection,
            title=document.title,
            size_bytes=document.size_bytes,
            priority=Priority.BULK,
            traceparent=trace,
        )
        for document in chosen
    ]
    await jobs.create(connection, tenant_id, made)
    await publish_command(connection, IndexDocument(made[0].id), tenant_id=tenant_id)
    return chosen
