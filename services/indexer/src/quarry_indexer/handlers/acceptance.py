"""Accepting documents: one transaction writes what they say, their jobs, their events and commands, and
counts them."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

import asyncpg

from quarry_common.blobs import BlobStore
from quarry_common.contracts.collections import DEFAULT_COLLECTION
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
    Room,
)
from quarry_common.errors import QuarryError, UnavailableError, ValidationError, error_data
from quarry_common.ids import document_id_for, new_id
from quarry_common.postgres.idempotency import fingerprint as request_digest
from quarry_common.postgres.idempotency import once
from quarry_common.postgres.pool import Connection, Database
from quarry_indexer.domain import quotas
from quarry_indexer.domain.errors import (
    CollectionMissingError,
    EmbedderMismatchError,
    EmptyDocumentError,
    NoRoomError,
)
from quarry_indexer.domain.fingerprint import fingerprint
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.handlers.admission import Asked, Standing, Terms, decide
from quarry_indexer.handlers.storing import store
from quarry_indexer.indexing import counting
from quarry_indexer.repository import collections, counts, documents, jobs
from quarry_indexer.repository.counts import NOTHING
from quarry_indexer.repository.documents import DocumentRow, NewDocument

log = logging.getLogger(__name__)


class _OvertakenError(Exception):
    """What others took in meanwhile left too little room: to be decided once more, holding the counts."""


class _Work(Protocol):
    def __call__(self, connection: Connection, *, hold: bool) -> Awaitable[AcceptedBatch]:
        """Accept documents; with `hold` nobody else of the tenant does meanwhile."""


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
        self._require_own(request.tenant_id, [item])
        terms = Terms(request.upsert, request.priority, request.room, request.condition)

        async def work(connection: Connection, *, hold: bool) -> AcceptedBatch:
            asked = _asked(request.tenant_id, 0, item)
            found = await self._accept(connection, request.tenant_id, [asked], terms, hold=hold)
            if isinstance(found[0], QuarryError):
                raise found[0]
            return AcceptedBatch([BatchResult(found[0])])

        digest = request_digest(
            ACCEPT.name, fingerprint(request.document, request.blob).hex(), request.upsert, request.priority
        )
        try:
            batch, new = await self._once(request, digest, work)
        except NoRoomError as error:
            await self._tell_refused(request.tenant_id, request.room, error)
            raise
        await self._finish(request.tenant_id, [item], batch, new)
        accepted = batch.results[0].accepted
        assert accepted is not None  # noqa: S101 - `work` raised otherwise
        return accepted

    async def accept_batch(self, request: AcceptBatch) -> AcceptedBatch:
        """Store documents durably in one transaction and queue their indexing.

        One that is refused does not keep the others out; stored bodies that are not needed are removed.
        """
        if len(request.items) > MAX_BATCH:
            raise ValidationError(f"A batch has at most {MAX_BATCH} documents.")
        self._require_own(request.tenant_id, request.items)
        terms = Terms(request.upsert, request.priority, request.room)

        async def work(connection: Connection, *, hold: bool) -> AcceptedBatch:
            results: dict[int, Accepted | QuarryError] = {}
            asked: list[Asked] = []
            for place, item in enumerate(request.items):
                try:
                    asked.append(_asked(request.tenant_id, place, item))
                except QuarryError as error:
                    results[place] = error
            results |= await self._accept(connection, request.tenant_id, asked, terms, hold=hold)
            return AcceptedBatch([_result(results[place]) for place in range(len(request.items))])

        digest = request_digest(ACCEPT_BATCH.name, request.request_sha256.hex(), len(request.items))
        batch, new = await self._once(request, digest, work)
        await self._finish(request.tenant_id, request.items, batch, new)
        return batch

    def _require_own(self, tenant_id: UUID, items: Sequence[BatchItem]) -> None:
        """Raise `ForeignBlobError` for a body of another tenant: no row may ever name one."""
        own = self._blobs.of(tenant_id)
        for item in items:
            if item.blob is not None:
                own.require(item.blob.path)

    async def _once(
        self, request: Accept | AcceptBatch, digest: bytes, work: _Work
    ) -> tuple[AcceptedBatch, bool]:
        """Do the work, at first with the counts held at its end alone: there the acceptances of a tenant wait
        for each other."""
        tenant_id, key = request.tenant_id, request.idempotency_key
        try:
            return await once(
                self._database, tenant_id, key, digest, AcceptedBatch, partial(work, hold=False)
            )
        except _OvertakenError:
            return await once(self._database, tenant_id, key, digest, AcceptedBatch, partial(work, hold=True))

    async def _accept(
        self, connection: Connection, tenant_id: UUID, asked: Sequence[Asked], terms: Terms, *, hold: bool
    ) -> dict[int, Accepted | QuarryError]:
        """Accept documents; return what became of each, by its place."""
        closed = await self._open_collections(connection, tenant_id, asked)
        left = [each for each in asked if each.item.document.collection not in closed]
        standings = await _standings(connection, tenant_id, left)
        counted = await counts.find(connection, tenant_id) if terms.room != Room() else NOTHING
        decisions = decide(left, standings, terms, counted.used)
        if hold := hold or bool(decisions.lacking):
            # Who gives the tenant its first turn may be waiting for the counts: wait for that one before.
            await jobs.give_turn(connection, tenant_id)
            counted = await counts.hold(connection, tenant_id)
            decisions = decide(left, standings, terms, counted.used)
        found: dict[int, Accepted | QuarryError] = {
            each.place: closed[each.item.document.collection]
            for each in asked
            if each.item.document.collection in closed
        }
        found |= decisions.refused
        found |= await store(connection, tenant_id, decisions.taken, terms.priority)
        for place, row in decisions.unchanged.items():
            found[place] = await _unchanged(connection, row)
        if decisions.missing:
            await documents.forget(connection, decisions.missing)
        if decisions.taken:
            counted = await counts.add(connection, tenant_id, decisions.growth, decisions.added)
            before = counted.used - decisions.growth
            if not hold and quotas.exceeded(before, decisions.gain, terms.room):
                raise _OvertakenError
        if decisions.taken or decisions.lacking:
            await counting.tell(
                connection, tenant_id, counted, decisions.growth, terms.room, decisions.lacking
            )
        return found

    async def _tell_refused(self, tenant_id: UUID, room: Room, error: NoRoomError) -> None:
        """Tell that a quota is exceeded, unless it was told: the transaction that saw it is undone."""
        refused = {error.quota}
        try:
            async with self._database.tenant_transaction(tenant_id) as connection:
                known = await counts.find(connection, tenant_id)
                if quotas.tell(known.told, known.used, room, refused)[1]:
                    held = await counts.hold(connection, tenant_id)
                    await counting.tell(connection, tenant_id, held, Usage(), room, refused)
        except (QuarryError, asyncpg.PostgresError) as failure:
            log.warning("a refusal was not told: %s", failure, extra={"quota": error.quota.value})

    async def _open_collections(
        self, connection: Connection, tenant_id: UUID, asked: Sequence[Asked]
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

    async def _finish(
        self, tenant_id: UUID, items: Sequence[BatchItem], batch: AcceptedBatch, new: bool
    ) -> None:
        """Wake the workers, and remove stored bodies that no version names."""
        used = [
            new and result.accepted is not None and not result.accepted.unchanged for result in batch.results
        ]
        if any(used):
            self._wake()
        for item, needed in zip(items, used, strict=True):
            if item.blob is not None and not needed:
                await self._remove(tenant_id, item.blob)

    async def _remove(self, tenant_id: UUID, blob: BlobRef) -> None:
        try:
            await self._blobs.of(tenant_id).delete(blob.path)
        except UnavailableError:
            log.warning("a stored body that nobody needs is left to the sweep", extra={"path": blob.path})


def _asked(tenant_id: UUID, place: int, item: BatchItem) -> Asked:
    fields = item.document
    if item.blob is None and not fields.title.strip():
        raise EmptyDocumentError("The document has neither a title nor any content.")
    document_id = (
        document_id_for(tenant_id, fields.collection, fields.external_id) if fields.external_id else new_id()
    )
    return Asked(place, item, document_id, fingerprint(fields, item.blob))


async def _standings(connection: Connection, tenant_id: UUID, asked: Sequence[Asked]) -> dict[UUID, Standing]:
    """Hold the documents, new ones too, and return how they stand."""
    new = {
        each.id: NewDocument(each.id, each.item.document.collection, each.item.document.external_id)
        for each in asked
    }
    await documents.create(connection, tenant_id, list(new.values()))
    rows = await documents.lock_many(connection, list(new))
    if len(rows) < len(new):
        raise UnavailableError("A document was removed at this moment.", retry_after_seconds=1)
    latest = await counts.latest(connection, list(rows))
    standings: dict[UUID, Standing] = {}
    for document_id, row in rows.items():
        last = latest.get(document_id)
        if last is None or not row.alive:
            standings[document_id] = Standing(row)
            continue
        usable = last.version == row.latest_version and last.state in {"pending", "active"}
        standings[document_id] = Standing(row, last.fingerprint if usable else None, last.size_bytes)
    return standings


async def _unchanged(connection: Connection, row: DocumentRow) -> Accepted:
    job_id = await jobs.of_version(connection, row.id, row.latest_version)
    if job_id is None:
        raise UnavailableError("The document changes at this moment.", retry_after_seconds=1)
    return Accepted(row.id, job_id, row.latest_version, unchanged=True, revision=row.revision)


def _result(found: Accepted | QuarryError) -> BatchResult:
    return BatchResult(error=error_data(found)) if isinstance(found, QuarryError) else BatchResult(found)
