"""Statements that tell what the vector index should hold."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from quarry_common.postgres.pool import Connection


class Expected(msgspec.Struct, frozen=True):
    """A version whose points have a reason to be there."""

    chunk_count: int
    searchable: bool
    """Whether searches should find it; otherwise it is being indexed, or waits to be purged."""


async def expected(
    connection: Connection, tenant_id: UUID, keys: Sequence[tuple[UUID, int]] | None = None
) -> dict[tuple[UUID, int], Expected]:
    """Return the versions whose points have a reason to be there; of `keys`, or all of a tenant."""
    rows = await connection.fetch(
        """
        SELECT v.document_id, v.version, v.chunk_count,
            d.deleted_at IS NULL AND v.version = d.current_version AND v.state = 'active' AS searchable
        FROM versions v JOIN documents d ON d.id = v.document_id
        WHERE v.tenant_id = $1
          AND ($2::uuid[] IS NULL OR (v.document_id, v.version) IN (
              SELECT * FROM unnest($2::uuid[], $3::int[])))
          AND (v.state IN ('pending', 'active', 'discarded') OR v.indexed_points)
        """,
        tenant_id,
        [document_id for document_id, _ in keys] if keys is not None else None,
        [version for _, version in keys] if keys is not None else None,
    )
    return {
        (row["document_id"], row["version"]): Expected(row["chunk_count"], bool(row["searchable"]))
        for row in rows
    }


async def tenants(connection: Connection) -> list[UUID]:
    """Return every tenant that ever had a job. Needs the worker role."""
    rows = await connection.fetch("SELECT tenant_id FROM turns ORDER BY tenant_id")
    return [row["tenant_id"] for row in rows]
