"""Collections: create, read, change their settings, delete."""

from collections.abc import Callable, Sequence
from uuid import UUID

from quarry_common import cursors
from quarry_common.contracts.collections import (
    CREATE_COLLECTION,
    DEFAULT_COLLECTION,
    AllSettings,
    Collection,
    CollectionDeleted,
    CollectionPage,
    CollectionRef,
    CollectionSettings,
    CreateCollection,
    ListCollections,
    ListSettings,
    UpdateCollection,
)
from quarry_common.contracts.commands import PurgeDocuments
from quarry_common.contracts.events import CollectionDeleted as CollectionDeletedEvent
from quarry_common.contracts.events import CollectionUpdated, JobCancelled
from quarry_common.messaging.outbox import Message, publish, publish_event, told
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer import SERVICE
from quarry_indexer.domain.collection_settings import Limits, changed, check, patched
from quarry_indexer.domain.errors import CollectionExistsError, CollectionMissingError, DefaultCollectionError
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.handlers.documents import bounded
from quarry_indexer.indexing import counting
from quarry_indexer.repository import collections, counts, documents, jobs

_COLLECTIONS = "collections"
"""The list, as its cursors name it."""
SETTINGS_AT_ONCE = 100
"""Collections whose settings are in one message, as a page of collections is."""


class Collections:
    """Answers what is asked of collections."""

    def __init__(
        self,
        database: Database,
        index: VectorIndex,
        embedder_id: str,
        limits: Limits,
        purge: Callable[[], None],
    ) -> None:
        self._database = database
        self._index = index
        self._embedder_id = embedder_id
        self._limits = limits
        self._purge = purge

    async def create(self, request: CreateCollection) -> Collection:
        """Create a collection for the embedder that runs."""
        tenant_id, name, settings = request.tenant_id, request.name, request.settings
        check(settings, self._limits)

        async def work(connection: Connection) -> Collection:
            if not await collections.create(connection, tenant_id, name, self._embedder_id, settings):
                raise CollectionExistsError(f"There is a collection {name!r} already.")
            await _tell(connection, tenant_id, name, changed(CollectionSettings(), settings))
            return await self._one(connection, CollectionRef(tenant_id, name))

        digest = fingerprint(CREATE_COLLECTION.name, name, settings)
        made, _ = await once(self._database, tenant_id, request.idempotency_key, digest, Collection, work)
        if settings != CollectionSettings():
            await told(self._database, tenant_id, name)
        return made

    async def update(self, request: UpdateCollection) -> Collection:
        """Change a collection's settings; whoever searches after the answer finds by the new ones."""
        tenant_id, name = request.tenant_id, request.name
        async with self._database.tenant_transaction(tenant_id) as connection:
            if name == DEFAULT_COLLECTION:
                await collections.create(connection, tenant_id, name, self._embedder_id)
            before = await collections.find_settings(connection, tenant_id, name, lock=True)
            if before is None:
                raise CollectionMissingError(f"There is no collection {name!r}.")
            after = patched(before, request.settings)
            check(after, self._limits)
            await collections.set_settings(connection, tenant_id, name, after)
            await _tell(connection, tenant_id, name, changed(before, after))
            found = await self._one(connection, CollectionRef(tenant_id, name))
        await told(self._database, tenant_id, name)
        return found

    async def settings(self, request: ListSettings) -> AllSettings:
        """Return the settings of those of a tenant's collections where they are not the default ones."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            found = await collections.all_settings(
                connection, request.tenant_id, after=request.after, limit=SETTINGS_AT_ONCE
            )
            others = await collections.any_with_defaults(connection, request.tenant_id)
        return AllSettings(found, next(reversed(found)) if len(found) == SETTINGS_AT_ONCE else None, others)

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
            freed = Usage(len(ids), await counts.storage_bytes(connection, ids))
            cancelled = await jobs.cancel(connection, "the collection was deleted", document_ids=ids)
            await documents.bury(connection, ids)
            messages = [
                Message(JobCancelled(job.id, job.document_id, job.collection, job.attempt))
                for job in cancelled
            ]
            messages += [Message(CollectionDeletedEvent(request.name, len(ids))), Message(PurgeDocuments())]
            await publish(connection, messages, service=SERVICE, tenant_id=tenant_id)
            await counting.change(connection, tenant_id, Usage() - freed)
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


async def _tell(connection: Connection, tenant_id: UUID, name: str, settings: Sequence[str]) -> None:
    if settings:
        event = CollectionUpdated(name, list(settings))
        await publish_event(connection, event, service=SERVICE, tenant_id=tenant_id)
