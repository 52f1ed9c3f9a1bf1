"""Changing documents: PATCH, deletion, indexing again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from quarry_common import cursors
from quarry_common.contracts.collections import DEFAULT_COLLECTION
from quarry_common.contracts.commands import PurgeDocuments
from quarry_common.contracts.documents import (
    REINDEX,
    Deleted,
    DeleteDocument,
    Document,
    DocumentPatch,
    DocumentRef,
    Metadata,
    PatchDocument,
    Reindex,
    Reindexing,
)
from quarry_common.contracts.events import DocumentDeleted, DocumentUpdated, JobCancelled
from quarry_common.errors import FieldError, ValidationError
from quarry_common.messaging.outbox import Message, publish, publish_event, told
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer import SERVICE
from quarry_indexer.domain.conditions import require
from quarry_indexer.domain.errors import CollectionMissingError
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.handlers.documents import document_id, found, missing
from quarry_indexer.indexing import counting
from quarry_indexer.indexing.patching import follow
from quarry_indexer.indexing.reindexing import reindex
from quarry_indexer.repository import changes, collections, counts, documents, jobs
from quarry_indexer.repository.documents import DocumentRow

MAX_METADATA = 100
REINDEX_AT_ONCE = 500
REINDEX_PER_REQUEST = 5_000
_REINDEX = "reindex"
"""The list, as its cursors name it."""
_EMPTY: Mapping[str, object] = {"tags": []}
"""What null makes of a field that must have a value."""


class Changes:
    """Answers requests to change documents. `wake` and `purge` tell who has work by it."""

    def __init__(
        self, database: Database, index: VectorIndex, wake: Callable[[], None], purge: Callable[[], None]
    ) -> None:
        self._database = database
        self._index = index
        self._wake = wake
        self._purge = purge

    async def patch(self, request: PatchDocument) -> Document:
        """Change what is said of a document, in Postgres and in its points, without embedding anything.

        The document is marked first: should this process or the index fail in the middle, its points are made
        to follow afterwards. Nothing is changed when the index cannot follow now.
        """
        fields, metadata, forgotten = _taken_apart(request.patch)
        identity = document_id(request)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            await _require(connection, request, identity, request)
            await changes.mark_stale(connection, identity)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            row = await _require(connection, request, identity, request)
            names = await changes.change(connection, identity, fields, metadata=metadata, forgotten=forgotten)
            if names > MAX_METADATA:
                message = f"would have {names} names; at most {MAX_METADATA} are allowed"
                raise ValidationError("1 field is wrong.", errors=[FieldError("metadata", message)])
            await follow(connection, self._index, request.tenant_id, identity)
            event = DocumentUpdated(
                document_id=identity,
                job_id=None,
                collection=row.collection,
                external_id=row.external_id,
                version=row.current_version or row.latest_version,
                revision=row.revision + 1,
            )
            await publish_event(connection, event, service=SERVICE, tenant_id=request.tenant_id)
            changed = await found(connection, request)
        await told(self._database, request.tenant_id, str(identity))
        return changed

    async def delete(self, request: DeleteDocument) -> Deleted:
        """Make a document unfindable, now; its remains are purged afterwards.

        The tombstone is committed before the points go: a job at its fence, or a purge after a crash,
        sees it.
        """
        tenant_id, identity = request.tenant_id, document_id(request)
        async with self._database.tenant_transaction(tenant_id) as connection:
            row = await _require(connection, request, identity, request)
            freed = await bury(connection, tenant_id, [row])
            await counting.change(connection, tenant_id, Usage() - freed)
        # Only what was there: the same external id may be coming back at this very moment.
        await self._index.delete_below(tenant_id, identity, row.latest_version + 1)
        self._purge()
        await told(self._database, tenant_id, str(identity))
        return Deleted(identity)

    async def reindex(self, request: Reindex) -> Reindexing:
        """Queue documents to be parsed, cut and indexed again, some thousand at a time."""
        after = cursors.decode_id(_REINDEX, request.cursor)

        async def work(connection: Connection) -> Reindexing:
            await _require_collection(connection, request)
            count, position = 0, after
            while count < REINDEX_PER_REQUEST:
                chosen = await reindex(
                    connection,
                    request.tenant_id,
                    document_ids=request.document_ids,
                    collection=request.collection,
                    filters=request.filters,
                    after=position,
                    limit=REINDEX_AT_ONCE,
                )
                count += len(chosen)
                if len(chosen) < REINDEX_AT_ONCE:
                    return Reindexing(count)
                position = chosen[-1].id
            return Reindexing(count, cursors.encode(_REINDEX, str(position)))

        digest = fingerprint(REINDEX.name, msgspec.structs.replace(request, idempotency_key=None))
        done, _ = await once(
            self._database, request.tenant_id, request.idempotency_key, digest, Reindexing, work
        )
        if done.jobs:
            self._wake()
        return done


async def bury(connection: Connection, tenant_id: UUID, rows: Sequence[DocumentRow]) -> Usage:
    """Turn documents, held by the transaction, into tombstones: cancel their jobs and tell of it.

    Return what was counted of them, for the transaction to take off in the end.
    """
    by_id = {row.id: row for row in rows}
    freed = Usage(len(by_id), await counts.storage_bytes(connection, list(by_id)))
    cancelled = await jobs.cancel(connection, "the document was deleted", document_ids=list(by_id))
    await documents.bury(connection, list(by_id))
    messages = [
        Message(JobCancelled(job.id, job.document_id, job.collection, job.attempt)) for job in cancelled
    ]
    messages += [Message(DocumentDeleted(row.id, row.collection, row.external_id)) for row in rows]
    messages.append(Message(PurgeDocuments()))
    await publish(connection, messages, service=SERVICE, tenant_id=tenant_id)
    return freed


async def _require(
    connection: Connection,
    request: DocumentRef,
    identity: UUID,
    conditional: PatchDocument | DeleteDocument,
) -> DocumentRow:
    """Return the document, held, if it is there and as the request wants it."""
    row = await documents.lock(connection, identity)
    if row is None or not row.alive:
        raise missing(request)
    require(conditional.condition, row.revision)
    return row


async def _require_collection(connection: Connection, request: Reindex) -> None:
    name = request.collection
    if name is None or name == DEFAULT_COLLECTION:
        return
    if await collections.find(connection, request.tenant_id, name) is None:
        raise CollectionMissingError(f"There is no collection {name!r}.")


def _taken_apart(patch: DocumentPatch) -> tuple[dict[str, Any], Metadata, list[str]]:
    """Return the fields to set, the metadata to set, and the names of metadata to forget."""
    given = {
        name: getattr(patch, name)
        for name in patch.__struct_fields__
        if getattr(patch, name) is not msgspec.UNSET
    }
    metadata = given.pop("metadata", {})
    if metadata is None:
        message = "must be an object; give null for each name that shall go"
        raise ValidationError("1 field is wrong.", errors=[FieldError("metadata", message)])
    fields = {name: _EMPTY.get(name) if value is None else value for name, value in given.items()}
    kept = {name: value for name, value in metadata.items() if value is not None}
    return fields, kept, [name for name, value in metadata.items() if value is None]
