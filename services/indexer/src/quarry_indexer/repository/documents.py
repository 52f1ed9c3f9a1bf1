"""Statements of documents: their identity, and how their owner sees them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.documents import Document, DocumentStatus, Metadata, Order
from quarry_common.contracts.filters import Filter
from quarry_common.postgres.pool import Connection
from quarry_indexer.repository.filters import condition


class DocumentRow(msgspec.Struct, frozen=True):
    """A document's identity as it is stored."""

    id: UUID
    tenant_id: UUID
    collection: str
    external_id: str | None
    current_version: int | None
    latest_version: int
    revision: int
    deleted_at: datetime | None

    @property
    def alive(self) -> bool:
        """Whether there is such a document: it is no tombstone and was accepted once."""
        return self.latest_version > 0 and self.deleted_at is None


_IDENTITY = "id, tenant_id, collection, external_id, current_version, latest_version, revision, deleted_at"


async def lock(connection: Connection, document_id: UUID) -> DocumentRow | None:
    """Return a document, tombstones too, and hold it until this transaction ends."""
    return (await lock_many(connection, [document_id])).get(document_id)


async def lock_many(connection: Connection, document_ids: Sequence[UUID]) -> dict[UUID, DocumentRow]:
    """Return documents, tombstones too, and hold them until this transaction ends."""
    # Always in the same order, so that two transactions wait and do not lock each other out.
    rows = await connection.fetch(
        f"SELECT {_IDENTITY} FROM documents WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE",  # noqa: S608
        document_ids,
    )
    return {row["id"]: DocumentRow(**row) for row in rows}


class NewDocument(msgspec.Struct, frozen=True):
    """A document's identity before it is stored."""

    id: UUID
    collection: str
    external_id: str | None


async def create(connection: Connection, tenant_id: UUID, new: Sequence[NewDocument]) -> None:
    """Create documents that have no version yet, unless another writer just did."""
    ordered = sorted(new, key=lambda document: document.id)
    await connection.execute(
        """
        INSERT INTO documents (id, tenant_id, collection, external_id, latest_version, revision)
        SELECT n.id, $1, n.collection, n.external_id, 0, 0
        FROM unnest($2::uuid[], $3::text[], $4::text[]) AS n (id, collection, external_id)
        ORDER BY n.id ON CONFLICT (id) DO NOTHING
        """,
        tenant_id,
        [document.id for document in ordered],
        [document.collection for document in ordered],
        [document.external_id for document in ordered],
    )


async def advance(connection: Connection, versions: Sequence[tuple[UUID, int]]) -> None:
    """Name versions as those accepted last; a tombstone becomes a document again."""
    await connection.execute(
        """
        UPDATE documents d SET latest_version = n.version, updated_at = now(), revision = d.revision + 1,
            created_at = CASE WHEN d.deleted_at IS NULL AND d.latest_version > 0
                THEN d.created_at ELSE now() END,
            deleted_at = NULL
        FROM unnest($1::uuid[], $2::int[]) AS n (id, version) WHERE d.id = n.id
        """,
        [document_id for document_id, _ in versions],
        [version for _, version in versions],
    )


async def advance_again(connection: Connection, versions: Sequence[tuple[UUID, int]]) -> None:
    """Name versions as those accepted last that say what the ones before said: nobody changed anything."""
    await connection.execute(
        """
        UPDATE documents d SET latest_version = n.version
        FROM unnest($1::uuid[], $2::int[]) AS n (id, version) WHERE d.id = n.id
        """,
        [document_id for document_id, _ in versions],
        [version for _, version in versions],
    )


async def set_current(connection: Connection, versions: Sequence[tuple[UUID, int]]) -> None:
    """Name versions as those that searches find."""
    await connection.execute(
        """
        UPDATE documents d SET current_version = n.version, updated_at = now()
        FROM unnest($1::uuid[], $2::int[]) AS n (id, version) WHERE d.id = n.id
        """,
        [document_id for document_id, _ in versions],
        [version for _, version in versions],
    )


async def bury(connection: Connection, document_ids: Sequence[UUID]) -> None:
    """Turn documents into tombstones and discard all their versions."""
    await connection.execute(
        """
        UPDATE documents SET deleted_at = now(), current_version = NULL, updated_at = now(), stale = false,
            revision = revision + 1
        WHERE id = ANY($1::uuid[])
        """,
        document_ids,
    )
    await connection.execute(
        """
        UPDATE versions SET state = 'discarded'
        WHERE document_id = ANY($1::uuid[]) AND state <> 'discarded'
        """,
        document_ids,
    )


async def in_collection(connection: Connection, tenant_id: UUID, collection: str) -> list[UUID]:
    """Return the documents of a collection and hold them until this transaction ends."""
    rows = await connection.fetch(
        """
        SELECT id FROM documents WHERE tenant_id = $1 AND collection = $2 AND deleted_at IS NULL
        ORDER BY id FOR UPDATE
        """,
        tenant_id,
        collection,
    )
    return [row["id"] for row in rows]


async def forget(connection: Connection, document_ids: Sequence[UUID]) -> None:
    """Remove documents that this transaction created and that got no version."""
    await connection.execute(
        "DELETE FROM documents WHERE id = ANY($1::uuid[]) AND latest_version = 0", document_ids
    )


_SELECT = """
    SELECT d.id, d.collection, d.external_id, d.current_version, d.latest_version, d.revision, d.created_at,
           d.updated_at, v.title, v.doc_type, v.tags, v.metadata, v.source_url, v.allowed_principals,
           v.file_name, v.size_bytes, coalesce(c.chunk_count, 0) AS chunk_count, v.state
    FROM documents d
    JOIN LATERAL (SELECT * FROM versions WHERE document_id = d.id AND state <> 'discarded'
                  ORDER BY version DESC LIMIT 1) v ON true
    LEFT JOIN versions c ON c.document_id = d.id AND c.version = d.current_version
"""
_STATUS = """
    CASE WHEN d.current_version IS NOT NULL THEN 'searchable'
         WHEN v.state IN ('failed', 'cancelled') THEN v.state ELSE 'pending' END
"""
_ORDERS = {
    Order.CREATED_AT: ("d.created_at", "timestamptz"),
    Order.UPDATED_AT: ("d.updated_at", "timestamptz"),
    Order.TITLE: ("v.title", "text"),
}
Position = tuple[datetime | str, UUID]
"""Where a list of documents goes on: behind the document with this value and id."""


async def find(connection: Connection, tenant_id: UUID, document_id: UUID) -> Document | None:
    """Return a document that is not deleted."""
    row = await connection.fetchrow(
        _SELECT + " WHERE d.tenant_id = $1 AND d.id = $2 AND d.deleted_at IS NULL", tenant_id, document_id
    )
    return _document(row) if row else None


async def page(
    connection: Connection,
    tenant_id: UUID,
    *,
    collection: str | None,
    status: DocumentStatus | None,
    filters: Filter | None,
    order: Order,
    descending: bool,
    after: Position | None,
    limit: int,
) -> list[Document]:
    """Return documents in order that come after `after` in it."""
    values: list[Any] = [tenant_id, collection, status, limit]
    column, kind = _ORDERS[order]
    where = condition(filters, values) if filters is not None else "true"
    if after is not None:
        values += after
        where += (
            f" AND ({column}, d.id) {'<' if descending else '>'}"
            f" (${len(values) - 1}::{kind}, ${len(values)}::uuid)"
        )
    direction = "DESC" if descending else "ASC"
    rows = await connection.fetch(
        f"""
        {_SELECT}
        WHERE d.tenant_id = $1 AND d.deleted_at IS NULL
          AND ($2::text IS NULL OR d.collection = $2)
          AND ($3::text IS NULL OR $3 = {_STATUS})
          AND {where}
        ORDER BY {column} {direction}, d.id {direction} LIMIT $4
        """,
        *values,
    )
    return [_document(row) for row in rows]


class Chosen(msgspec.Struct, frozen=True):
    """A document whose latest version can be indexed again."""

    id: UUID
    collection: str
    latest_version: int
    title: str
    size_bytes: int


async def to_reindex(
    connection: Connection,
    tenant_id: UUID,
    *,
    document_ids: Sequence[UUID] | None,
    collection: str | None,
    filters: Filter | None,
    after: UUID | None,
    limit: int,
) -> list[Chosen]:
    """Return documents by id, held until this transaction ends; none that waits to be indexed anyway, unless
    it was read before the settings of its collection changed."""
    values: list[Any] = [tenant_id, document_ids, collection, after, limit]
    where = condition(filters, values) if filters is not None else "true"
    rows = await connection.fetch(
        f"""
        SELECT d.id, d.collection, d.latest_version, v.title, v.size_bytes FROM documents d
        JOIN versions v ON v.document_id = d.id AND v.version = d.latest_version
        LEFT JOIN collections c ON c.tenant_id = d.tenant_id AND c.name = d.collection
        WHERE d.tenant_id = $1 AND d.deleted_at IS NULL
          AND (v.state IN ('active', 'failed', 'cancelled')
               OR (v.state = 'pending' AND v.indexing <> c.indexing))
          AND ($2::uuid[] IS NULL OR d.id = ANY($2)) AND ($3::text IS NULL OR d.collection = $3)
          AND ($4::uuid IS NULL OR d.id > $4) AND {where}
        ORDER BY d.id LIMIT $5 FOR UPDATE OF d
        """,  # noqa: S608 - constants and parameters
        *values,
    )
    return [Chosen(**row) for row in rows]


def _document(row: asyncpg.Record) -> Document:
    status = DocumentStatus.PENDING
    if row["current_version"] is not None:
        status = DocumentStatus.SEARCHABLE
    elif row["state"] in {"failed", "cancelled"}:
        status = DocumentStatus(row["state"])
    return Document(
        id=row["id"],
        collection=row["collection"],
        external_id=row["external_id"],
        title=row["title"],
        doc_type=row["doc_type"],
        tags=row["tags"],
        metadata=msgspec.json.decode(row["metadata"], type=Metadata),
        source_url=row["source_url"],
        allowed_principals=row["allowed_principals"],
        status=status,
        version=row["current_version"],
        latest_version=row["latest_version"],
        revision=row["revision"],
        file_name=row["file_name"],
        size_bytes=row["size_bytes"],
        chunk_count=row["chunk_count"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
