"""A tenant whose documents are accepted, counted and deleted; nothing indexes them."""

import hashlib
import json
from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.blobs import BlobStore
from quarry_common.contracts.collections import CollectionRef, CreateCollection
from quarry_common.contracts.documents import (
    Accept,
    AcceptBatch,
    Accepted,
    BatchItem,
    BatchResult,
    BlobRef,
    DeleteDocument,
    DocumentFields,
    Room,
)
from quarry_common.contracts.usage import StoredNow, TenantRef
from quarry_common.errors import QuarryError
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.domain.collection_settings import Limits
from quarry_indexer.handlers.acceptance import Acceptance
from quarry_indexer.handlers.changes import Changes
from quarry_indexer.handlers.collections import Collections
from quarry_indexer.handlers.usage import UsageReports

UNLIMITED = Room()
Admin: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class Tenant:
    """What a test may do with a tenant of its own."""

    def __init__(self, database: Database, blobs: BlobStore, index: VectorIndex, admin: Admin) -> None:
        self.id = new_id()
        self.database = database
        self.blobs = blobs
        self.admin = admin
        self.acceptance = Acceptance(database, blobs, "counted@test", lambda: None)
        self._changes = Changes(database, index, lambda: None, lambda: None)
        self._collections = Collections(database, index, "counted@test", Limits(200, 256), lambda: None)
        self._usage = UsageReports(database)

    async def file(self, content: bytes) -> BlobRef:
        """Return a body that is in the blob store."""
        stored = await self.blobs.of(self.id).put_bytes(self.body(0).path, content)
        return BlobRef(stored.path, stored.size_bytes, stored.sha256)

    def body(self, size: int) -> BlobRef:
        """Return a body of so many bytes, different from all others, that is nowhere."""
        name = new_id()
        path = f"tenants/{self.id}/uploads/{name}"
        return BlobRef(path, size, hashlib.sha256(name.bytes).hexdigest())

    async def put(
        self,
        name: str | None = None,
        size: int = 10,
        room: Room = UNLIMITED,
        *,
        blob: BlobRef | None = None,
        collection: str = "default",
        key: str | None = None,
    ) -> Accepted:
        """Store a document, or replace the one of that name."""
        fields = DocumentFields(external_id=name, collection=collection)
        blob = blob or self.body(size)
        request = Accept(self.id, fields, blob, upsert=True, room=room, idempotency_key=key)
        return await self.acceptance.accept(request)

    async def put_many(
        self, items: Sequence[tuple[str | None, int]], room: Room = UNLIMITED
    ) -> list[BatchResult]:
        """Store documents, given by name and size, at once."""
        return await self.put_all([(name, self.body(size)) for name, size in items], room)

    async def put_all(
        self, bodies: Sequence[tuple[str | None, BlobRef]], room: Room = UNLIMITED
    ) -> list[BatchResult]:
        """Store documents, given by name and body, at once."""
        batch = [BatchItem(DocumentFields(external_id=name), body) for name, body in bodies]
        request = AcceptBatch(self.id, batch, upsert=True, room=room)
        return (await self.acceptance.accept_batch(request)).results

    async def outcome(self, size: int, room: Room) -> str:
        """Return `accepted`, or the code of the error with which a new document is refused."""
        try:
            await self.put(None, size, room)
        except QuarryError as error:
            return error.data.code
        return "accepted"

    async def outcomes(self, items: Sequence[tuple[str | None, int]], room: Room) -> list[str]:
        """Return the same of each document of a batch."""
        return [
            result.error.code if result.error else "accepted" for result in await self.put_many(items, room)
        ]

    async def delete(self, document_id: UUID) -> None:
        await self._changes.delete(DeleteDocument(self.id, document_id))

    async def create_collection(self, name: str) -> None:
        await self._collections.create(CreateCollection(self.id, name))

    async def delete_collection(self, name: str) -> None:
        await self._collections.delete(CollectionRef(self.id, name))

    async def stored(self) -> StoredNow:
        """Return what is counted."""
        return await self._usage.stored(TenantRef(self.id))

    async def there(self) -> StoredNow:
        """Return what there is: the owner's own view of it, counted document by document."""
        row = await self.admin.fetchrow(
            """
            SELECT count(*) AS documents, coalesce(sum((
                SELECT size_bytes FROM indexer.versions v
                WHERE v.document_id = d.id AND v.state <> 'discarded' ORDER BY version DESC LIMIT 1
            )), 0)::bigint AS storage_bytes
            FROM indexer.documents d WHERE tenant_id = $1 AND deleted_at IS NULL
            """,
            self.id,
        )
        assert row is not None
        return StoredNow(**row)

    async def told(self) -> list[tuple[str, str, int, int]]:
        """Return the events of quotas: what reached, of which quota, its limit and how much was used."""
        rows = await self.admin.fetch(
            "SELECT body FROM indexer.outbox WHERE tenant_id = $1 AND subject LIKE '%.quota.%' ORDER BY id",
            self.id,
        )
        events = [json.loads(row["body"]) for row in rows]
        return [
            (event["type"], event["data"]["quota"], event["data"]["limit"], event["data"]["used"])
            for event in events
        ]

    def another(self) -> "Tenant":
        index = self._changes._index
        return Tenant(self.database, self.blobs, index, self.admin)


async def waiting(admin: Admin) -> int:
    """Return how many transactions of the database wait for another one."""
    return int(
        await admin.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
            """
        )
    )


def detail(error: QuarryError | msgspec.Struct) -> str:
    data = error.data if isinstance(error, QuarryError) else error
    return f"{data.code} {data.status} {data.detail}"  # type: ignore[attr-defined]
