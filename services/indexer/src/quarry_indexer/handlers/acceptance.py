"""Accepting documents: one transaction writes what they say, their jobs, their events and commands."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from quarry_common.blobs import BlobStore
from quarry_common.contracts.collections import DEFAULT_COLLECTION
from quarry_common.contracts.commands import IndexDocument
from quarry_common.contracts.documents import (
    ACCEPT,
    ACCEPT_BATCH,
    MAX_BATCH,
    Accept,
    AcceptBatch,
    Accepted,
    AcceptedBatch,
    BatchItem,
    BatchResult,
    BlobRef,
    Condition,
)
from quarry_common.contracts.events import DocumentUploaded, JobCancelled
from quarry_common.contracts.jobs import Priority
from quarry_common.errors import QuarryError, UnavailableError, ValidationError, error_data
from quarry_common.ids import document_id_for, new_id
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.idempotency import fingerprint as request_digest
from quarry_common.postgres.idempotency import once
from quarry_common.postgres.pool import Connection, Database
from quarry_common.telemetry import tracing
from quarry_indexer import SERVICE
from quarry_indexer.domain.conditions import require
from quarry_indexer.domain.errors import (
    CollectionMissingError,
    EmbedderMismatchError,
    EmptyDocumentError,
    ExternalIdTakenError,
)
from quarry_indexer.domain.fingerprint import fingerprint
from quarry_indexer.repository import collections, documents, jobs, versions
from quarry_indexer.repository.documents import DocumentRow, NewDocument
from quarry_indexer.repository.jobs import NewJob
from quarry_indexer.repository.versions import NewVersion

log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    """A document on its way in."""

    place: int
    item: BatchItem
    id: UUID
    digest: bytes


class _Terms(NamedTuple):
    """What holds for all documents of a request."""

    upsert: bool
    priority: Priority
    condition: Condition | None = None


class Acceptance:
    """Answers `accept` and `accept_batch`. `wake` tells this process's workers that there is work."""

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
        item = BatchItem(request.document, request.blob)

        async def work(connection: Connection) -> AcceptedBatch:
            asked = self._asked(request.tenant_id, 0, item)
            terms = _Terms(request.upsert, request.priority, request.condition)
            found = await self._accept(connection, request.tenant_id, [asked], terms)
            if isinstance(found[0], QuarryError):
                raise found[0]
            return AcceptedBatch([BatchResult(found[0])])

        digest = request_digest(
            ACCEPT.name, fingerprint(request.document, request.blob).hex(), request.upsert, request.priority
        )
        batch, new = await once(
            self._database, request.tenant_id, request.idempotency_key, digest, AcceptedBatch, work
        )
        await self._finish([item], batch, new)
        accepted = batch.results[0].accepted
        assert accepted is not None  # noqa: S101 - `work` raised otherwise
        return accepted

    async def accept_batch(self, request: AcceptBatch) -> AcceptedBatch:
        """Store documents durably in one transaction and queue their indexing.

        One that is refused does not keep the others out; stored bodies that are not needed are removed.
        """
        if len(request.items) > MAX_BATCH:
            raise ValidationError(f"A batch has at most {MAX_BATCH} documents.")

        async def work(connection: Connection) -> AcceptedBatch:
            terms = _Terms(request.upsert, request.priority)
            results: dict[int, Accepted | QuarryError] = {}
            left: list[_Asked] = []
            for place, item in enumerate(request.items):
                try:
                    left.append(self._asked(request.tenant_id, place, item))
                except QuarryError as error:
                    results[place] = error
            while left:
                # Of documents that stand in it twice the later one replaces the one before.
                first = {asked.id: asked for asked in reversed(left)}
                part = [asked for asked in left if first[asked.id] is asked]
                left = [asked for asked in left if first[asked.id] is not asked]
                found = await self._accept(connection, request.tenant_id, part, terms)
                results |= {asked.place: each for asked, each in zip(part, found, strict=True)}
            return AcceptedBatch([_result(results[place]) for place in range(len(request.items))])

        digest = request_digest(ACCEPT_BATCH.name, request.request_sha256.hex(), len(request.items))
        batch, new = await once(
            self._database, request.tenant_id, request.idempotency_key, digest, AcceptedBatch, work
        )
        await self._finish(request.items, batch, new)
        return batch

    def _asked(self, tenant_id: UUID, place: int, item: BatchItem) -> _Asked:
        fields = item.document
        if item.blob is None and not fields.title.strip():
            raise EmptyDocumentError("The document has neither a title nor any content.")
        document_id = (
            document_id_for(tenant_id, fields.collection, fields.external_id)
            if fields.external_id
            else new_id()
        )
        return _Asked(place, item, document_id, fingerprint(fields, item.blob))

    async def _accept(
        self, connection: Connection, tenant_id: UUID, asked: Sequence[_Asked], terms: _Terms
    ) -> list[Accepted | QuarryError]:
        """Accept documents of which none stands here twice; return what became of each."""
        refused = await self._open_collections(connection, tenant_id, asked)
        left = [each for each in asked if each.item.document.collection not in refused]
        rows = await self._identities(connection, tenant_id, left)
        known = await documents.fingerprints(connection, [each.id for each in left])
        found: dict[UUID, Accepted | QuarryError] = {
            each.id: refused[each.item.document.collection]
            for each in asked
            if each.item.document.collection in refused
        }
        fresh: list[_Asked] = []
        for each in left:
            row = rows[each.id]
            if terms.condition is not None:
                require(terms.condition, row.revision if row.alive else None)
            if row.alive and not terms.upsert:
                found[each.id] = ExternalIdTakenError(
                    f"{row.external_id!r} in collection {row.collection!r} is document {each.id}."
                )
            elif row.alive and known.get(each.id) == each.digest:
                found[each.id] = await self._unchanged(connection, row)
            else:
                fresh.append(each)
        found |= await self._store(connection, tenant_id, fresh, rows, terms.priority)
        return [found[each.id] for each in asked]

    async def _identities(
        self, connection: Connection, tenant_id: UUID, asked: Sequence[_Asked]
    ) -> dict[UUID, DocumentRow]:
        new = [
            NewDocument(each.id, each.item.document.collection, each.item.document.external_id)
            for each in asked
        ]
        await documents.create(connection, tenant_id, new)
        rows = await documents.lock_many(connection, [each.id for each in asked])
        if len(rows) < len(asked):
            raise UnavailableError("A document was removed at this moment.", retry_after_seconds=1)
        return rows

    async def _unchanged(self, connection: Connection, row: DocumentRow) -> Accepted:
        job_id = await jobs.of_version(connection, row.id, row.latest_version)
        if job_id is None:
            raise UnavailableError("The document changes at this moment.", retry_after_seconds=1)
        return Accepted(row.id, job_id, row.latest_version, unchanged=True, revision=row.revision)

    async def _store(
        self,
        connection: Connection,
        tenant_id: UUID,
        asked: Sequence[_Asked],
        rows: dict[UUID, DocumentRow],
        priority: Priority,
    ) -> dict[UUID, Accepted | QuarryError]:
        """Write next versions of documents, with their jobs and messages."""
        if not asked:
            return {}
        told = await self._supersede(connection, [each.id for each in asked])
        trace = tracing.traceparent()
        new = [_version(each, rows[each.id]) for each in asked]
        made = [_job(each, version, priority, trace) for each, version in zip(asked, new, strict=True)]
        await documents.advance(connection, [(version.document_id, version.version) for version in new])
        await versions.create(connection, tenant_id, new)
        await jobs.create(connection, tenant_id, made)
        told += [Message(_uploaded(version, job)) for version, job in zip(new, made, strict=True)]
        told.append(Message(IndexDocument(made[0].id)))
        await publish(connection, told, service=SERVICE, tenant_id=tenant_id)
        return {
            job.document_id: Accepted(
                job.document_id, job.id, job.version, revision=rows[job.document_id].revision + 1
            )
            for job in made
        }

    async def _supersede(self, connection: Connection, document_ids: Sequence[UUID]) -> list[Message]:
        """Give up versions that nobody has begun to index; they are not worth it any more.

        One that is being indexed goes on, so that a document which changes all the time is findable all the
        same.
        """
        cancelled = await jobs.cancel(
            connection, "replaced before it was begun", document_ids=document_ids, queued_only=True
        )
        await versions.set_state(
            connection, [(job.document_id, job.version) for job in cancelled], "discarded"
        )
        return [
            Message(JobCancelled(job.id, job.document_id, job.collection, job.attempt)) for job in cancelled
        ]

    async def _open_collections(
        self, connection: Connection, tenant_id: UUID, asked: Sequence[_Asked]
    ) -> dict[str, QuarryError]:
        """Keep the collections from being deleted meanwhile; return why some cannot take documents."""
        refused: dict[str, QuarryError] = {}
        for name in sorted({each.item.document.collection for each in asked}):
            collection = await collections.find(connection, tenant_id, name, lock=True)
            if collection is None and name == DEFAULT_COLLECTION:
                await collections.create(connection, tenant_id, name, self._embedder_id)
            elif collection is None:
                refused[name] = CollectionMissingError(f"There is no collection {name!r}.")
            elif collection.embedder_id != self._embedder_id:
                refused[name] = EmbedderMismatchError(
                    f"The collection {name!r} is of {collection.embedder_id}; {self._embedder_id} is running."
                )
        return refused

    async def _finish(self, items: Sequence[BatchItem], batch: AcceptedBatch, new: bool) -> None:
        """Wake the workers, and remove stored bodies that no version names."""
        used = [
            new and result.accepted is not None and not result.accepted.unchanged for result in batch.results
        ]
        if any(used):
            self._wake()
        for item, needed in zip(items, used, strict=True):
            if item.blob is not None and not needed:
                await self._remove(item.blob)

    async def _remove(self, blob: BlobRef) -> None:
        try:
            await self._blobs.delete(blob.path)
        except UnavailableError:
            log.warning("a stored body that nobody needs is left to the sweep", extra={"path": blob.path})


def _result(found: Accepted | QuarryError) -> BatchResult:
    return BatchResult(error=error_data(found)) if isinstance(found, QuarryError) else BatchResult(found)


def _version(asked: _Asked, row: DocumentRow) -> NewVersion:
    item = asked.item
    return NewVersion(asked.id, row.latest_version + 1, item.document, item.blob, asked.digest)


def _job(asked: _Asked, version: NewVersion, priority: Priority, trace: str) -> NewJob:
    fields, blob = asked.item.document, asked.item.blob
    return NewJob(
        id=new_id(),
        document_id=asked.id,
        version=version.version,
        collection=fields.collection,
        title=fields.title or (blob.file_name if blob else ""),
        size_bytes=blob.size_bytes if blob else 0,
        priority=priority,
        traceparent=trace,
    )


def _uploaded(version: NewVersion, job: NewJob) -> DocumentUploaded:
    return DocumentUploaded(
        document_id=job.document_id,
        job_id=job.id,
        collection=job.collection,
        external_id=version.fields.external_id,
        version=job.version,
        title=job.title,
        size_bytes=job.size_bytes,
    )
