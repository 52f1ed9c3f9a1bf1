from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.documents import Metadata
from quarry_common.postgres.pool import Connection


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
    created_at: datetime
    """When the document was first accepted."""
    updated_at: datetime
    """When this version was accepted."""


class ChunkRow(msgspec.Struct, frozen=True):
    """Where a passage stands in the extracted text."""

    ordinal: int
    heading_path: list[str]
    page: int | None
    char_start: int
    char_end: int
    token_count: int


class Discarded(msgspec.Struct, frozen=True):
    """A version whose remains wait to be removed."""

    tenant_id: UUID
    document_id: UUID
    version: int
    state: str
    blob_path: str | None
    text_path: str | None


async def find(connection: Connection, document_id: UUID, version: int) -> VersionRow | None:
    """Return a version that is not discarded."""
    row = await connection.fetchrow(
        """
        SELECT v.document_id, v.version, v.tenant_id, d.collection, d.external_id, v.title, v.doc_type,
               v.tags, v.metadata, v.source_url, v.allowed_principals, v.file_name, v.declared_type,
               v.blob_path, v.text_path, d.created_at, v.created_at AS updated_at
        FROM versions v JOIN documents d ON d.id = v.document_id
        WHERE v.document_id = $1 AND v.version = $2 AND v.state IN ('pending', 'active')
        """,
        document_id,
        version,
    )
    if row is None:
        return None
    return VersionRow(**{**row, "metadata": msgspec.json.decode(row["metadata"], type=Metadata)})


async def save_chunks(
    connection: Connection,
    version: VersionRow,
    text_path: str,
    title: str,
    doc_type: str,
    chunks: Sequence[ChunkRow],
) -> None:
    """Store what parsing and chunking found, in place of what an earlier attempt stored."""
    key = (version.document_id, version.version)
    await connection.execute("DELETE FROM chunks WHERE document_id = $1 AND version = $2", *key)
    # COPY is refused under row-level security; one statement with a value per row is next best.
    await connection.executemany(
        """
        INSERT INTO chunks (document_id, version, ordinal, tenant_id, heading_path, page, char_start,
            char_end, token_count)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        [
            (
                *key,
                c.ordinal,
                version.tenant_id,
                c.heading_path,
                c.page,
                c.char_start,
                c.char_end,
                c.token_count,
            )
            for c in chunks
        ],
    )
    await connection.execute(
        """
        UPDATE versions SET text_path = $3, title = $4, doc_type = $5, chunk_count = $6, indexed_points = true
        WHERE document_id = $1 AND version = $2
        """,
        *key,
        text_path,
        title,
        doc_type,
        len(chunks),
    )


async def chunks(
    connection: Connection, document_id: UUID, version: int, first: int, limit: int
) -> list[ChunkRow]:
    """Return up to `limit` chunks in order, from ordinal `first` on."""
    rows = await connection.fetch(
        """
        SELECT ordinal, heading_path, page, char_start, char_end, token_count FROM chunks
        WHERE document_id = $1 AND version = $2 AND ordinal >= $3 ORDER BY ordinal LIMIT $4
        """,
        document_id,
        version,
        first,
        limit,
    )
    return [ChunkRow(**row) for row in rows]


async def activate(connection: Connection, document_id: UUID, version: int) -> None:
    """Name `version` active and discard every version before it."""
    await connection.execute(
        """
        UPDATE versions SET state = CASE WHEN version = $2 THEN 'active' ELSE 'discarded' END
        WHERE document_id = $1 AND version <= $2
        """,
        document_id,
        version,
    )


async def set_state(connection: Connection, document_id: UUID, version: int, state: str) -> None:
    """Name a version `failed` or `discarded`, unless searches find it."""
    await connection.execute(
        "UPDATE versions SET state = $3 WHERE document_id = $1 AND version = $2 AND state <> 'active'",
        document_id,
        version,
        state,
    )


async def discarded(connection: Connection, limit: int) -> list[Discarded]:
    """Return versions of any tenant that wait to be purged and that no running job can still write."""
    rows = await connection.fetch(
        """
        SELECT v.tenant_id, v.document_id, v.version, v.state, v.blob_path, v.text_path FROM versions v
        WHERE (v.state = 'discarded' OR (v.state = 'failed' AND v.indexed_points))
          AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.document_id = v.document_id AND j.version = v.version
                          AND j.state = 'running')
        ORDER BY v.created_at LIMIT $1
        """,
        limit,
    )
    return [Discarded(**row) for row in rows]


async def purged(connection: Connection, version: Discarded) -> None:
    """Forget a version whose remains are gone; a failed one keeps its file, so that it can be tried again."""
    key = (version.document_id, version.version)
    if version.state == "failed":
        await connection.execute("DELETE FROM chunks WHERE document_id = $1 AND version = $2", *key)
        await connection.execute(
            """
            UPDATE versions SET indexed_points = false, text_path = NULL
            WHERE document_id = $1 AND version = $2
            """,
            *key,
        )
        return
    await connection.execute("DELETE FROM versions WHERE document_id = $1 AND version = $2", *key)
