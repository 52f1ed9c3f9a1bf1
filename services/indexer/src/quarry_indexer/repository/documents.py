from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.documents import BlobRef, Document, DocumentFields, DocumentStatus, Metadata
from quarry_common.postgres.pool import Connection


class DocumentRow(msgspec.Struct, frozen=True):
    """A document's identity as it is stored."""

    id: UUID
    tenant_id: UUID
    collection: str
    external_id: str | None
    current_version: int | None
    latest_version: int
    deleted_at: datetime | None


async def lock(connection: Connection, document_id: UUID) -> DocumentRow | None:
    """Return a document, tombstones too, and hold it until this transaction ends."""
    row = await connection.fetchrow(
        """
        SELECT id, tenant_id, collection, external_id, current_version, latest_version, deleted_at
        FROM documents WHERE id = $1 FOR UPDATE
        """,
        document_id,
    )
    return DocumentRow(**row) if row else None


async def create(
    connection: Connection, tenant_id: UUID, document_id: UUID, collection: str, external_id: str | None
) -> None:
    """Create a document that has no version yet, unless another writer just did."""
    await connection.execute(
        """
        INSERT INTO documents (id, tenant_id, collection, external_id, latest_version)
        VALUES ($1, $2, $3, $4, 0) ON CONFLICT (id) DO NOTHING
        """,
        document_id,
        tenant_id,
        collection,
        external_id,
    )


async def advance(connection: Connection, document_id: UUID, version: int, *, revive: bool) -> None:
    """Name `version` as the one accepted last; a tombstone becomes a document again with `revive`."""
    await connection.execute(
        """
        UPDATE documents SET latest_version = $2, updated_at = now(), deleted_at = NULL,
            created_at = CASE WHEN $3 THEN now() ELSE created_at END
        WHERE id = $1
        """,
        document_id,
        version,
        revive,
    )


async def set_current(connection: Connection, document_id: UUID, version: int) -> None:
    """Name `version` as the one that searches find."""
    await connection.execute(
        "UPDATE documents SET current_version = $2, updated_at = now() WHERE id = $1", document_id, version
    )


async def bury(connection: Connection, document_id: UUID) -> None:
    """Turn a document into a tombstone and discard all its versions."""
    await connection.execute(
        "UPDATE documents SET deleted_at = now(), current_version = NULL, updated_at = now() WHERE id = $1",
        document_id,
    )
    await connection.execute("UPDATE versions SET state = 'discarded' WHERE document_id = $1", document_id)


async def discard(connection: Connection, document_id: UUID, version: int) -> None:
    """Give up a version that nobody will index, unless searches find it already."""
    await connection.execute(
        """
        UPDATE versions SET state = 'discarded' WHERE document_id = $1 AND version = $2 AND state = 'pending'
        """,
        document_id,
        version,
    )


async def bury_collection(connection: Connection, tenant_id: UUID, collection: str) -> int:
    """Turn every document of a collection into a tombstone, cancel its jobs; return how many there were."""
    rows = await connection.fetch(
        """
        UPDATE documents SET deleted_at = now(), current_version = NULL, updated_at = now()
        WHERE tenant_id = $1 AND collection = $2 AND deleted_at IS NULL RETURNING id
        """,
        tenant_id,
        collection,
    )
    ids = [row["id"] for row in rows]
    await connection.execute(
        "UPDATE versions SET state = 'discarded' WHERE document_id = ANY($1::uuid[])", ids
    )
    await connection.execute(
        """
        UPDATE jobs SET state = 'cancelled', finished_at = now(), lease_token = NULL, leased_until = NULL
        WHERE document_id = ANY($1::uuid[]) AND state IN ('queued', 'running')
        """,
        ids,
    )
    return len(ids)


async def add_version(
    connection: Connection,
    tenant_id: UUID,
    document_id: UUID,
    version: int,
    fields: DocumentFields,
    blob: BlobRef | None,
    fingerprint: bytes,
) -> None:
    """Store what a document says from now on."""
    await connection.execute(
        """
        INSERT INTO versions (document_id, version, tenant_id, title, doc_type, tags, metadata, source_url,
            allowed_principals, file_name, declared_type, size_bytes, blob_path, fingerprint)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        """,
        document_id,
        version,
        tenant_id,
        fields.title,
        fields.doc_type,
        fields.tags,
        msgspec.json.encode(fields.metadata).decode(),
        fields.source_url,
        fields.allowed_principals,
        blob.file_name if blob else "",
        blob.declared_type if blob else "",
        blob.size_bytes if blob else 0,
        blob.path if blob else None,
        fingerprint,
    )


async def fingerprint_of(connection: Connection, document_id: UUID, version: int) -> bytes | None:
    """Return the fingerprint of a version that is searchable or on its way."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        SELECT fingerprint FROM versions
        WHERE document_id = $1 AND version = $2 AND state IN ('pending', 'active')
        """,
        document_id,
        version,
    )


_SELECT = """
    SELECT d.id, d.collection, d.external_id, d.current_version, d.latest_version, d.created_at, d.updated_at,
           v.title, v.doc_type, v.tags, v.metadata, v.source_url, v.allowed_principals, v.file_name,
           v.size_bytes, coalesce(c.chunk_count, 0) AS chunk_count, v.state
    FROM documents d
    JOIN LATERAL (SELECT * FROM versions WHERE document_id = d.id AND state <> 'discarded'
                  ORDER BY version DESC LIMIT 1) v ON true
    LEFT JOIN versions c ON c.document_id = d.id AND c.version = d.current_version
"""


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
    before: UUID | None,
    limit: int,
) -> list[Document]:
    """Return documents, newest first, that come after `before` in that order."""
    rows = await connection.fetch(
        _SELECT
        + """
        WHERE d.tenant_id = $1 AND d.deleted_at IS NULL
          AND ($2::text IS NULL OR d.collection = $2)
          AND ($3::uuid IS NULL OR d.id < $3)
          AND ($4::text IS NULL OR $4 = CASE WHEN d.current_version IS NOT NULL THEN 'searchable'
                                             WHEN v.state = 'failed' THEN 'failed' ELSE 'pending' END)
        ORDER BY d.id DESC LIMIT $5
        """,
        tenant_id,
        collection,
        before,
        status,
        limit,
    )
    return [_document(row) for row in rows]


def _document(row: asyncpg.Record) -> Document:
    if row["current_version"] is not None:
        status = DocumentStatus.SEARCHABLE
    else:
        status = DocumentStatus.FAILED if row["state"] == "failed" else DocumentStatus.PENDING
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
        file_name=row["file_name"],
        size_bytes=row["size_bytes"],
        chunk_count=row["chunk_count"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
