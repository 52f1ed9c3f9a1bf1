"""Statements of versions: what a document said at one time, and where it is in its life."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.documents import BlobRef, DocumentFields, Metadata
from quarry_common.postgres.pool import Connection
from quarry_indexer.domain.collection_settings import Indexing
from quarry_indexer.repository import chunks


class VersionRow(msgspec.Struct, frozen=True):
    """A document's version with the identity it belongs to: all that indexing needs to know."""

    document_id: UUID
    version: int
    tenant_id: UUID
    collection: str
    external_id: str | None
    title: str
    doc_type: str | None
    tags: list[str]
    metadata: Metadata
    source_url: str | None
    allowed_principals: list[str] | None
    file_name: str
    declared_type: str
    blob_path: str | None
    text_path: str | None
    patches: int
    """How often what it says was changed since it was accepted."""
    indexing: Indexing
    """What it was cut and weighted by; before it was read, what its collection asks for now."""
    created_at: datetime
    """When the document was first accepted."""
    updated_at: datetime
    """When this version was accepted."""


class NewVersion(msgspec.Struct, frozen=True):
    """What a document says from now on."""

    document_id: UUID
    version: int
    fields: DocumentFields
    blob: BlobRef | None
    fingerprint: bytes


class Parsed(msgspec.Struct, frozen=True):
    """What reading a version found."""

    document_id: UUID
    version: int
    text_path: str
    title: str
    doc_type: str
    chunk_count: int
    indexing: Indexing


class Discarded(msgspec.Struct, frozen=True):
    """A version whose remains wait to be removed."""

    tenant_id: UUID
    document_id: UUID
    version: int


async def find(
    connection: Connection, keys: Sequence[tuple[UUID, int]]
) -> dict[tuple[UUID, int], VersionRow]:
    """Return those of the versions that are searchable or being indexed."""
    rows = await connection.fetch(
        """
        SELECT v.document_id, v.version, v.tenant_id, d.collection, d.external_id, v.title, v.doc_type,
               v.tags, v.metadata, v.source_url, v.allowed_principals, v.file_name, v.declared_type,
               v.blob_path, v.text_path, v.patches, d.created_at, v.created_at AS updated_at,
               coalesce(v.indexing, c.indexing, '{}') AS indexing
        FROM unnest($1::uuid[], $2::int[]) AS k (document_id, version)
        JOIN versions v ON v.document_id = k.document_id AND v.version = k.version
        JOIN documents d ON d.id = v.document_id
        LEFT JOIN collections c ON c.tenant_id = d.tenant_id AND c.name = d.collection
        WHERE v.state IN ('pending', 'active')
        """,
        *_columns(keys),
    )
    return {(row["document_id"], row["version"]): _version(row) for row in rows}


async def create(connection: Connection, tenant_id: UUID, versions: Sequence[NewVersion]) -> None:
    """Store what documents say from now on."""
    rows = [
        {
            **msgspec.structs.asdict(each.fields),
            "document_id": each.document_id,
            "version": each.version,
            "file_name": each.blob.file_name if each.blob else "",
            "declared_type": each.blob.declared_type if each.blob else "",
            "size_bytes": each.blob.size_bytes if each.blob else 0,
            "blob_path": each.blob.path if each.blob else None,
            "fingerprint": each.fingerprint.hex(),
        }
        for each in versions
    ]
    await connection.execute(
        """
        INSERT INTO versions (document_id, version, tenant_id, title, doc_type, tags, metadata, source_url,
            allowed_principals, file_name, declared_type, size_bytes, blob_path, fingerprint)
        SELECT document_id, version, $1, title, doc_type, tags, metadata, source_url, allowed_principals,
            file_name, declared_type, size_bytes, blob_path, decode(fingerprint, 'hex')
        FROM jsonb_to_recordset($2::jsonb) AS v (
            document_id uuid, version int, title text, doc_type text, tags text[], metadata jsonb,
            source_url text, allowed_principals text[], file_name text, declared_type text,
            size_bytes bigint, blob_path text, fingerprint text)
        """,
        tenant_id,
        msgspec.json.encode(rows).decode(),
    )


async def parsed(connection: Connection, found: Sequence[Parsed]) -> None:
    """Store what reading versions found; from now on they may have points, which are never written anew:
    what they were cut and weighted by stays, too."""
    await connection.execute(
        """
        UPDATE versions v SET text_path = p.text_path, title = p.title,
            doc_type = coalesce(v.doc_type, p.doc_type), chunk_count = p.chunk_count, indexed_points = true,
            indexing = p.indexing
        FROM jsonb_to_recordset($1::jsonb) AS p (
            document_id uuid, version int, text_path text, title text, doc_type text, chunk_count int,
            indexing jsonb)
        WHERE v.document_id = p.document_id AND v.version = p.version
        """,
        msgspec.json.encode(found).decode(),
    )


async def activate(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> None:
    """Name versions active and discard every version before them."""
    await connection.execute(
        """
        UPDATE versions v SET state = CASE WHEN v.version = k.version THEN 'active' ELSE 'discarded' END
        FROM unnest($1::uuid[], $2::int[]) AS k (document_id, version)
        WHERE v.document_id = k.document_id AND v.version <= k.version AND v.state <> 'discarded'
        """,
        *_columns(keys),
    )


async def set_state(connection: Connection, keys: Sequence[tuple[UUID, int]], state: str) -> None:
    """Name versions `failed`, `cancelled` or `discarded`, unless searches find them."""
    await connection.execute(
        """
        UPDATE versions v SET state = $3 FROM unnest($1::uuid[], $2::int[]) AS k (document_id, version)
        WHERE v.document_id = k.document_id AND v.version = k.version AND v.state <> 'active'
        """,
        *_columns(keys),
        state,
    )


async def revive(connection: Connection, document_id: UUID, version: int) -> bool:
    """Let a failed or cancelled version be indexed again; return whether it could."""
    status = await connection.execute(
        """
        UPDATE versions SET state = 'pending'
        WHERE document_id = $1 AND version = $2 AND state IN ('failed', 'cancelled')
        """,
        document_id,
        version,
    )
    return bool(status.endswith(" 1"))


async def again(
    connection: Connection, tenant_id: UUID, documents: Sequence[UUID], before: Sequence[int]
) -> None:
    """Make a next version of documents that says what the one `before` says."""
    await connection.execute(
        """
        INSERT INTO versions (document_id, version, tenant_id, title, doc_type, tags, metadata, source_url,
            allowed_principals, file_name, declared_type, size_bytes, blob_path, fingerprint)
        SELECT v.document_id, v.version + 1, $1, title, doc_type, tags, metadata, source_url,
            allowed_principals, file_name, declared_type, size_bytes, blob_path, fingerprint
        FROM unnest($2::uuid[], $3::int[]) AS k (document_id, version)
        JOIN versions v ON v.document_id = k.document_id AND v.version = k.version
        """,
        tenant_id,
        documents,
        before,
    )


async def to_purge(connection: Connection, limit: int) -> list[Discarded]:
    """Return versions of any tenant that wait to be purged and that no running job can still write.

    Needs the worker role.
    """
    rows = await connection.fetch(
        """
        SELECT v.tenant_id, v.document_id, v.version FROM versions v
        WHERE (v.state = 'discarded' OR (v.state IN ('failed', 'cancelled') AND v.indexed_points))
          AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.document_id = v.document_id AND j.version = v.version
                          AND j.state = 'running')
        ORDER BY v.created_at LIMIT $1
        """,
        limit,
    )
    return [Discarded(**row) for row in rows]


class Remains(msgspec.Struct, frozen=True):
    """What is left of a version, held until the transaction ends. Paths are None where others need them."""

    document_id: UUID
    version: int
    state: str
    blob_path: str | None
    text_path: str | None
    deleted_from: str | None
    """The collection that its document was deleted from; None when there is such a document still."""


async def hold_remains(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> list[Remains]:
    """Hold those of the versions that are still to be purged; one that was revived meanwhile is not."""
    rows = await connection.fetch(
        """
        SELECT v.document_id, v.version, v.state, v.text_path,
            CASE WHEN v.state = 'discarded' AND NOT EXISTS (
                SELECT 1 FROM versions o WHERE o.blob_path = v.blob_path AND o.state <> 'discarded')
            THEN v.blob_path END AS blob_path,
            CASE WHEN d.deleted_at IS NOT NULL THEN d.collection END AS deleted_from
        FROM unnest($1::uuid[], $2::int[]) AS k (document_id, version)
        JOIN versions v ON v.document_id = k.document_id AND v.version = k.version
        JOIN documents d ON d.id = v.document_id
        WHERE v.state = 'discarded' OR (v.state IN ('failed', 'cancelled') AND v.indexed_points)
        ORDER BY v.document_id, v.version FOR UPDATE OF v
        """,
        *_columns(keys),
    )
    return [Remains(**row) for row in rows]


async def purged(connection: Connection, remains: Sequence[Remains]) -> None:
    """Forget versions whose remains are gone; failed and cancelled ones keep their file, for a retry."""
    gone = [(each.document_id, each.version) for each in remains if each.state == "discarded"]
    kept = [(each.document_id, each.version) for each in remains if each.state != "discarded"]
    await connection.execute(
        """
        DELETE FROM versions v USING unnest($1::uuid[], $2::int[]) AS k (document_id, version)
        WHERE v.document_id = k.document_id AND v.version = k.version
        """,
        *_columns(gone),
    )
    await chunks.clear(connection, kept)
    await connection.execute(
        """
        UPDATE versions v SET indexed_points = false, text_path = NULL, chunk_count = 0
        FROM unnest($1::uuid[], $2::int[]) AS k (document_id, version)
        WHERE v.document_id = k.document_id AND v.version = k.version
        """,
        *_columns(kept),
    )


async def alive(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> set[tuple[UUID, int]]:
    """Return those of the versions whose points are not to be removed, holding their documents."""
    rows = await connection.fetch(
        """
        SELECT v.document_id, v.version FROM unnest($1::uuid[], $2::int[]) AS k (document_id, version)
        JOIN versions v ON v.document_id = k.document_id AND v.version = k.version
        JOIN documents d ON d.id = v.document_id
        WHERE v.state IN ('pending', 'active') ORDER BY d.id FOR SHARE OF d
        """,
        *_columns(keys),
    )
    return {(row["document_id"], row["version"]) for row in rows}


async def named_paths(connection: Connection, paths: Sequence[str]) -> set[str]:
    """Return those of the paths in the blob store that a version names."""
    rows = await connection.fetch(
        """
        SELECT blob_path AS path FROM versions WHERE blob_path = ANY($1::text[])
        UNION ALL
        SELECT text_path FROM versions WHERE text_path = ANY($1::text[])
        """,
        paths,
    )
    return {row["path"] for row in rows}


def _version(row: asyncpg.Record) -> VersionRow:
    metadata = msgspec.json.decode(row["metadata"], type=Metadata)
    indexing = msgspec.json.decode(row["indexing"], type=Indexing)
    return VersionRow(**{**row, "metadata": metadata, "indexing": indexing})


def _columns(keys: Sequence[tuple[UUID, int]]) -> tuple[list[UUID], list[int]]:
    return [document_id for document_id, _ in keys], [version for _, version in keys]
