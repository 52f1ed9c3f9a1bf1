"""Statements of changes to what is said of a document: PATCH, and points that may not follow yet."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from quarry_common.contracts.documents import Metadata
from quarry_common.postgres.pool import Connection
from quarry_common.vectors.points import DocumentChange


async def mark_stale(connection: Connection, document_id: UUID) -> None:
    """Note that a document's points may soon say something else than its versions."""
    await connection.execute("UPDATE documents SET stale = true WHERE id = $1", document_id)


async def change(
    connection: Connection,
    document_id: UUID,
    fields: Mapping[str, object],
    *,
    metadata: Metadata,
    forgotten: Sequence[str],
) -> int:
    """Set `fields` of every version of a document that is searchable or may become it, merge `metadata` into
    theirs without the names `forgotten`; return how many names they have then at most.

    None says what its owner sent any more: the same sent again is a change.
    """
    columns = "".join(f", {name} = ${place}" for place, name in enumerate(fields, start=4))
    names = await connection.fetch(
        f"""
        UPDATE versions SET metadata = (metadata - $2::text[]) || $3::jsonb, patches = patches + 1,
            fingerprint = ''::bytea{columns}
        WHERE document_id = $1 AND state <> 'discarded'
        RETURNING (SELECT count(*) FROM jsonb_object_keys(metadata)) AS names
        """,  # noqa: S608 - names of columns, not of callers
        document_id,
        forgotten,
        msgspec.json.encode(metadata).decode(),
        *fields.values(),
    )
    await connection.execute(
        "UPDATE documents SET revision = revision + 1, updated_at = now() WHERE id = $1", document_id
    )
    return max((row["names"] for row in names), default=0)


async def settle(connection: Connection, document_id: UUID) -> None:
    """Note that a document's points say what its versions say."""
    await connection.execute("UPDATE documents SET stale = false WHERE id = $1", document_id)


async def present(connection: Connection, document_id: UUID, version: int) -> DocumentChange | None:
    """Return what the points of a version shall say."""
    row = await connection.fetchrow(
        """
        SELECT doc_type, tags, metadata, source_url, allowed_principals, created_at AS updated_at
        FROM versions WHERE document_id = $1 AND version = $2
        """,
        document_id,
        version,
    )
    if row is None:
        return None
    return DocumentChange(**{**row, "metadata": msgspec.json.decode(row["metadata"], type=Metadata)})


async def stale(connection: Connection, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """Return tenant and id of documents with a change that was begun and not ended. Needs the worker role."""
    rows = await connection.fetch(
        "SELECT tenant_id, id FROM documents WHERE stale ORDER BY id LIMIT $1", limit
    )
    return [(row["tenant_id"], row["id"]) for row in rows]
