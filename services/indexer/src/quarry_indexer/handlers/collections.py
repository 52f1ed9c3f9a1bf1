"""Collections: create, read, delete."""

from collections.abc import Callable

from quarry_common import cursors
from quarry_common.contracts.collections import (
    CREATE_COLLECTION,
    DEFAULT_COLLECTION,
    Collection,
    CollectionDeleted,
    CollectionPage,
    CollectionRef,
    CreateCollection,
    ListCollections,
)
from quarry_common.contracts.commands import PurgeDocuments
from quarry_common.contracts.events import CollectionDeleted as CollectionDeletedEvent
from quarry_common.contracts.events import JobCancelled
from quarry_common.messaging.outbox import Message, publish, told
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer import SERVICE
from quarry_indexer.domain.errors import CollectionExistsError, CollectionMissingError, DefaultCollectionError
from quarry_indexer.handlers.documents import bounded
from quarry_indexer.repository import collections, documents, jobs

_COLLECTIONS = "collections"
"""The list, as its cursors name it."""


class Collections:
    """Answers what is asked of collections."""

    def __init__(
        self, database: Database, index: VectorIndex, embedder_id: str, purge: Callable[[], None]
    ) -> None:
        self._database = database
        self._index = index
        self._embedder_id = embedder_id
        self._purge = purge

    async def create(self, request: CreateCollection) -> Collection:
        """Create a collection for the embedder that runs."""
        tenant_id, name = request.tenant_id, request.name

        async def work(connection: Connection) -> Collection:
            if not await collections.create(connection, tenant_id, name, self._embedder_id):
                raise CollectionExistsError(f"There is a collection {name!r} already.")
            return await self._one(connection, CollectionRef(tenant_id, name))

        digest = fingerprint(CREATE_COLLECTION.name, name)
        made, _ = await once(self._database, tenant_id, request.idempotency_key, digest, Collection, work)
        return made

    async def get(self, request: CollectionRef) -> Collection:
        """Return one collection."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            return await self._one(connection, request)

    async def list(self, request: ListCollections) -> CollectionPage:
        """Return some collections by name."""
        limit = bounded(request.limit)
        after = cursors.decode(_COLLECTIONS, request.cursor) if request.cursor else ""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            await collections.create(connection, request.tenant_id, DEFAULT_COLLECTION, self._embedder_id)
            found = await collections.page(
                connection, request.tenant_id, name=None, after=after, limit=limit + 1
            )
        following = cursors.encode(_COLLECTIONS, found[limit - 1].name) if len(found) > limit else None
        return CollectionPage(found[:limit], following)

    async def delete(self, request: CollectionRef) -> CollectionDeleted:
        """Make everything in a collection unfindable, now; the remains are purged afterwards."""
        if request.name == DEFAULT_COLLECTION:
            raise DefaultCollectionError("Every tenant keeps its default collection.")
        tenant_id = request.tenant_id
        async with self._database.tenant_transaction(tenant_id) as connection:
            if not await collections.delete(connection, tenant_id, request.name):
                raise CollectionMissingError(f"There is no collection {request.name!r}.")
            ids = await documents.in_collection(connection, tenant_id, request.name)
            cancelled = await jobs.cancel(connection, "the collection was deleted", document_ids=ids)
            await documents.bury(connection, ids)
            messages = [
                Message(JobCancelled(job.id, job.document_id, job.collection, job.attempt))
                for job in cancelled
            ]
            messages += [Message(CollectionDeletedEvent(request.name, len(ids))), Message(PurgeDocuments())]
            await publish(connection, messages, service=SERVICE, tenant_id=tenant_id)
        await self._index.delete_collection(tenant_id, request.name)
        self._purge()
        await told(self._database, tenant_id, request.name)
        return CollectionDeleted(request.name, len(ids))

    async def _one(self, connection: Connection, request: CollectionRef) -> Collection:
        if request.name == DEFAULT_COLLECTION:
            await collections.create(connection, request.tenant_id, request.name, self._embedder_id)
        found = await collections.page(connection, request.tenant_id, name=request.name, after="", limit=1)
        if not found:
            raise CollectionMissingError(f"There is no collection {request.name!r}.")
        return found[0]
