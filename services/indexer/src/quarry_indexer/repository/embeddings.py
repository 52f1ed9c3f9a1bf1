"""Statements of the embedding cache: vectors by a digest of the embedder and the text."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from quarry_common.postgres.pool import Connection


async def find(connection: Connection, tenant_id: UUID, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the vectors that are known, and note that they were used today."""
    rows = await connection.fetch(
        """
        SELECT text_digest, vector, used_on < current_date AS aged FROM embeddings
        WHERE tenant_id = $1 AND text_digest = ANY($2::bytea[])
        """,
        tenant_id,
        digests,
    )
    aged = [row["text_digest"] for row in rows if row["aged"]]
    if aged:
        await connection.execute(
            """
            UPDATE embeddings SET used_on = current_date
            WHERE tenant_id = $1 AND text_digest = ANY($2::bytea[])
            """,
            tenant_id,
            aged,
        )
    return {row["text_digest"]: row["vector"] for row in rows}


async def add(connection: Connection, tenant_id: UUID, vectors: Mapping[bytes, bytes]) -> None:
    """Keep vectors by their digests; none for a tenant without a turn, who is being removed: a worker may be
    the last to hear of it."""
    # Two workers with the same texts take the rows in the same order.
    digests = sorted(vectors)
    await connection.execute(
        """
        INSERT INTO embeddings (tenant_id, text_digest, vector)
        SELECT $1, e.text_digest, e.vector FROM unnest($2::bytea[], $3::bytea[]) AS e (text_digest, vector)
        WHERE EXISTS (SELECT FROM turns WHERE tenant_id = $1)
        ON CONFLICT DO NOTHING
        """,
        tenant_id,
        digests,
        [vectors[digest] for digest in digests],
    )


async def expire(connection: Connection, days: int, limit: int) -> int:
    """Forget up to `limit` vectors not used for `days`; return how many. Needs the worker role."""
    status = await connection.execute(
        """
        DELETE FROM embeddings WHERE (tenant_id, text_digest) IN (
            SELECT tenant_id, text_digest FROM embeddings
            WHERE used_on < current_date - $1::int ORDER BY used_on LIMIT $2)
        """,
        days,
        limit,
    )
    return int(status.rpartition(" ")[2])
