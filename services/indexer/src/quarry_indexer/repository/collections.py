from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.collections import Collection
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Connection


class CollectionRow(msgspec.Struct, frozen=True):
    """A collection as it is stored."""

    id: UUID
    name: str
    embedder_id: str
    created_at: datetime


async def create(connection: Connection, tenant_id: UUID, name: str, embedder_id: str) -> bool:
    """Create a collection; return whether it is new."""
    done = await connection.fetchval(
        """
        INSERT INTO collections (id, tenant_id, name, embedder_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id, name) DO NOTHING RETURNING id
        """,
        new_id(),
        tenant_id,
        name,
        embedder_id,
    )
    return done is not None


async def find(
    connection: Connection, tenant_id: UUID, name: str, *, lock: bool = False
) -> CollectionRow | None:
    """Return a collection. With `lock` nobody can delete it before this transaction ends."""
    row = await connection.fetchrow(
        f"""
        SELECT id, name, embedder_id, created_at FROM collections
        WHERE tenant_id = $1 AND name = $2 {"FOR KEY SHARE" if lock else ""}
        """,  # noqa: S608 - one of two constants
        tenant_id,
        name,
    )
    return CollectionRow(**row) if row else None


async def page(
    connection: Connection, tenant_id: UUID, *, name: str | None, after: str, limit: int
) -> list[Collection]:
    """Return collections by name with what they hold: those after `after`, or the one called `name`."""
    rows = await connection.fetch(
        """
        SELECT c.id, c.name, c.embedder_id, c.created_at,
               held.documents AS document_count, held.chunks AS chunk_count
        FROM collections c, LATERAL (
            SELECT count(*) AS documents, coalesce(sum(v.chunk_count), 0)::bigint AS chunks
            FROM documents d
            LEFT JOIN versions v ON v.document_id = d.id AND v.version = d.current_version
            WHERE d.tenant_id = c.tenant_id AND d.collection = c.name AND d.deleted_at IS NULL
        ) held
        WHERE c.tenant_id = $1 AND c.name > $2 AND ($3::text IS NULL OR c.name = $3)
        ORDER BY c.name LIMIT $4
        """,
        tenant_id,
        after,
        name,
        limit,
    )
    return [Collection(**row) for row in rows]


async def delete(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Remove the collection's row, after every upload that is being accepted into it has ended."""
    done = await connection.fetchval(
        "DELETE FROM collections WHERE tenant_id = $1 AND name = $2 RETURNING id", tenant_id, name
    )
    return done is not None
