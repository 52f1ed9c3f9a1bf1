"""Accepting a document: one transaction writes what it says, its job, its event and its command."""

import logging
from collections.abc import Callable
from uuid import UUID

from quarry_common.blobs import BlobStore
from quarry_common.contracts.commands import IndexDocument
from quarry_common.contracts.documents import DEFAULT_COLLECTION, Accept, Accepted, BlobRef
from quarry_common.contracts.events import DocumentUploaded, JobCancelled
from quarry_common.errors import UnavailableError
from quarry_common.ids import document_id_for, new_id
from quarry_common.messaging.outbox import publish_command, publish_event
from quarry_common.postgres.pool import Connection, Database
from quarry_common.telemetry import tracing
from quarry_indexer import SERVICE
from quarry_indexer.domain.errors import (
    CollectionMissingError,
    EmbedderMismatchError,
    EmptyDocumentError,
    ExternalIdTakenError,
    IdempotencyKeyReusedError,
)
from quarry_indexer.domain.fingerprint import fingerprint
from quarry_indexer.repository import collections, documents, idempotency, jobs

log = logging.getLogger(__name__)


class Acceptance:
    """Answers `accept`. `wake` tells this process's workers that there is work."""

    def __init__(
        self, database: Database, blobs: BlobStore, embedder_id: str, wake: Callable[[], None]
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._embedder_id = embedder_id
        self._wake = wake

    async def accept(self, request: Accept) -> Accepted:
        """Store a document durably and queue its indexing.

        The stored body is removed again when the request was a repetition or found nothing changed.
        """
        if request.blob is None and not request.document.title.strip():
            raise EmptyDocumentError("The document has neither a title nor any content.")
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            accepted, used = await self._accept(connection, request)
        if used:
            self._wake()
        elif request.blob is not None:
            await self._remove(request.blob)
        return accepted

    async def _accept(self, connection: Connection, request: Accept) -> tuple[Accepted, bool]:
        digest = fingerprint(request.document, request.blob)
        if request.idempotency_key is None:
            return await self._store(connection, request, digest)
        key = request.idempotency_key
        earlier = await idempotency.recall(connection, request.tenant_id, key)
        if earlier is not None:
            if earlier.fingerprint != digest:
                raise IdempotencyKeyReusedError(f"The key {key!r} came with another document before.")
            return earlier.reply, False
        accepted, used = await self._store(connection, request, digest)
        await idempotency.remember(connection, request.tenant_id, key, digest, accepted)
        return accepted, used

    async def _store(self, connection: Connection, request: Accept, digest: bytes) -> tuple[Accepted, bool]:
        tenant_id, fields = request.tenant_id, request.document
        await self._open_collection(connection, tenant_id, fields.collection)
        document_id = (
            document_id_for(tenant_id, fields.collection, fields.external_id)
            if fields.external_id
            else new_id()
        )
        await documents.create(connection, tenant_id, document_id, fields.collection, fields.external_id)
        row = await documents.lock(connection, document_id)
        if row is None:
            raise UnavailableError("The document was removed at this moment.", retry_after_seconds=1)
        alive = row.latest_version > 0 and row.deleted_at is None
        if alive and not request.upsert:
            raise ExternalIdTakenError(
                f"{fields.external_id!r} in collection {fields.collection!r} is document {document_id}."
            )
        if alive and await documents.fingerprint_of(connection, document_id, row.latest_version) == digest:
            job_id = await jobs.of_version(connection, document_id, row.latest_version)
            if job_id is not None:
                return Accepted(document_id, job_id, row.latest_version, unchanged=True), False

        # A version that nobody has begun to index is not worth indexing any more; one that is being indexed
        # goes on, so that a document which changes all the time is findable all the same.
        for job in await jobs.cancel(connection, document_id, queued_only=True):
            await documents.discard(connection, document_id, job.version)
            cancelled = JobCancelled(job.id, document_id, fields.collection, job.attempt)
            await publish_event(connection, cancelled, service=SERVICE, tenant_id=tenant_id)

        version, job_id = row.latest_version + 1, new_id()
        await documents.advance(connection, document_id, version, revive=not alive)
        await documents.add_version(connection, tenant_id, document_id, version, fields, request.blob, digest)
        title = fields.title or (request.blob.file_name if request.blob else "")
        trace = tracing.traceparent()
        await jobs.create(
            connection, tenant_id, job_id, document_id, version, fields.collection, title, trace
        )
        uploaded = DocumentUploaded(
            document_id=document_id,
            job_id=job_id,
            collection=fields.collection,
            external_id=fields.external_id,
            version=version,
            title=title,
            size_bytes=request.blob.size_bytes if request.blob else 0,
        )
        await publish_event(connection, uploaded, service=SERVICE, tenant_id=tenant_id)
        await publish_command(connection, IndexDocument(job_id), tenant_id=tenant_id)
        return Accepted(document_id, job_id, version), True

    async def _open_collection(self, connection: Connection, tenant_id: UUID, name: str) -> None:
        collection = await collections.find(connection, tenant_id, name, lock=True)
        if collection is None and name == DEFAULT_COLLECTION:
            await collections.create(connection, tenant_id, name, self._embedder_id)
            return
        if collection is None:
            raise CollectionMissingError(f"There is no collection {name!r}.")
        if collection.embedder_id != self._embedder_id:
            raise EmbedderMismatchError(
                f"The collection {name!r} is of {collection.embedder_id}; {self._embedder_id} is running."
            )

    async def _remove(self, blob: BlobRef) -> None:
        try:
            await self._blobs.delete(blob.path)
        except UnavailableError:
            log.warning("a stored body that nobody needs could not be removed", extra={"path": blob.path})
