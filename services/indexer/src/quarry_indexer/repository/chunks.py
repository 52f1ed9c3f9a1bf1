"""Statements of chunks: where passages stand in the extracted text."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from quarry_common.postgres.pool import Connection
from quarry_indexer.chunking.chunk import Chunk


class VersionChunks(msgspec.Struct, frozen=True):
    """Chunks of one version."""

    document_id: UUID
    version: int
    chunks: Sequence[Chunk]


async def clear(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> None:
    """Forget what earlier attempts stored of versions."""
    await connection.execute(
        """
        DELETE FROM chunks c USING unnest($1::uuid[], $2::int[]) AS k (document_id, version)
        WHERE c.document_id = k.document_id AND c.version = k.version
        """,
        [document_id for document_id, _ in keys],
        [version for _, version in keys],
    )


async def add(connection: Connection, tenant_id: UUID, found: Sequence[VersionChunks]) -> None:
    """Store chunks."""
    # COPY is refused under row-level security; one statement with all rows as JSON is next best.
    await connection.execute(
        """
        INSERT INTO chunks (document_id, version, ordinal, tenant_id, heading_path, page, char_start,
            char_end, byte_start, byte_end, token_count)
        SELECT v.document_id, v.version, c.ordinal, $1, c.heading_path, c.page, c.char_start, c.char_end,
            c.byte_start, c.byte_end, c.token_count
        FROM jsonb_to_recordset($2::jsonb) AS v (document_id uuid, version int, chunks jsonb),
            jsonb_to_recordset(v.chunks) AS c (ordinal int, heading_path text[], page int, char_start int,
                char_end int, byte_start bigint, byte_end bigint, token_count int)
        """,
        tenant_id,
        msgspec.json.encode(found).decode(),
    )


async def page(
    connection: Connection, document_id: UUID, version: int, first: int, limit: int
) -> list[Chunk]:
    """Return up to `limit` chunks in order, from ordinal `first` on."""
    rows = await connection.fetch(
        """
        SELECT ordinal, heading_path, page, char_start, char_end, byte_start, byte_end, token_count
        FROM chunks WHERE document_id = $1 AND version = $2 AND ordinal >= $3 ORDER BY ordinal LIMIT $4
        """,
        document_id,
        version,
        first,
        limit,
    )
    return [Chunk(**{**row, "heading_path": tuple(row["heading_path"])}) for row in rows]
