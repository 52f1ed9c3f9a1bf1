"""The end of a job: searches find the new version in place of the one before."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from quarry_common.contracts.events import DocumentIndexed, DocumentUpdated, JobCompleted
from quarry_common.contracts.jobs import JobState, Stage
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Connection, Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer import SERVICE
from quarry_indexer.indexing.bundle import Bundle
from quarry_indexer.indexing.giving_way import give_way
from quarry_indexer.indexing.metrics import JOBS
from quarry_indexer.indexing.reading import Prepared
from quarry_indexer.repository import changes, documents, leases, usage, versions
from quarry_indexer.repository.documents import DocumentRow


class Activation:
    """Makes finished versions the ones that searches find.

    `purge` is told when versions before may be removed; until then searches keep to the newest.
    """

    def __init__(self, database: Database, index: VectorIndex, purge: Callable[[], None]) -> None:
        self._database = database
        self._index = index
        self._purge = purge

    async def activate(self, bundle: Bundle, prepared: Sequence[Prepared]) -> None:
        """Let searches find the versions of the jobs still held, and end the jobs.

        The documents' rows are held throughout, so that a deletion or a newer version comes before or after.
        Raises `LeaseLostError`, and what the stores raise.
        """
        by_job = {each.lease.job_id: each for each in prepared}
        async with self._database.tenant_transaction(bundle.tenant_id) as connection:
            rows = await documents.lock_many(
                connection, [lease.document_id for lease in bundle.members.values()]
            )
            bundle.keep(await leases.enter(connection, bundle.token, bundle.job_ids, Stage.INDEX))
            overtaken = [
                lease
                for lease in bundle.members.values()
                if not rows[lease.document_id].alive
                or (rows[lease.document_id].current_version or 0) > lease.version
            ]
            await give_way(connection, bundle, overtaken)
            if not bundle.members:
                return
            held = list(bundle.members.values())
            ready = [by_job[lease.job_id] for lease in held]
            await self._show(connection, bundle.tenant_id, ready)
            for count in sorted({each.chunk_count for each in ready}):
                await leases.finish(
                    connection,
                    bundle.token,
                    [each.lease.job_id for each in ready if each.chunk_count == count],
                    JobState.SUCCEEDED,
                    f"searchable: {count} chunks",
                )
            told = [message for each in ready for message in _told(each, rows)]
            await publish(connection, told, service=SERVICE, tenant_id=bundle.tenant_id)
            await usage.activated(
                connection, bundle.tenant_id, [(lease.document_id, lease.version) for lease in held]
            )
        JOBS.labels("done").inc(len(bundle.members))
        bundle.done(bundle.job_ids)
        if any(row.current_version is not None for row in rows.values()):
            self._purge()

    async def _show(self, connection: Connection, tenant_id: UUID, ready: Sequence[Prepared]) -> None:
        keys = [(each.version.document_id, each.version.version) for each in ready]
        present = await versions.find(connection, keys)
        await self._index.activate(tenant_id, keys)
        for key in keys:
            # Changed before it was searchable: what an earlier try wrote does not say so yet.
            if present[key].patches:
                change = await changes.present(connection, *key)
                if change is not None:
                    await self._index.update_payload(tenant_id, key, change)
        await versions.activate(connection, keys)
        await documents.set_current(connection, keys)


def _told(prepared: Prepared, rows: Mapping[UUID, DocumentRow]) -> list[Message]:
    lease, row = prepared.lease, rows[prepared.lease.document_id]
    event: DocumentIndexed | DocumentUpdated
    if row.current_version is None:
        event = DocumentIndexed(
            document_id=lease.document_id,
            job_id=lease.job_id,
            collection=lease.collection,
            external_id=row.external_id,
            version=lease.version,
            chunk_count=prepared.chunk_count,
        )
    else:
        event = DocumentUpdated(
            document_id=lease.document_id,
            job_id=lease.job_id,
            collection=lease.collection,
            external_id=row.external_id,
            version=lease.version,
            revision=row.revision,
        )
    completed = JobCompleted(
        lease.job_id, lease.document_id, lease.collection, lease.attempt, prepared.chunk_count
    )
    return [Message(event, lease.traceparent), Message(completed, lease.traceparent)]
