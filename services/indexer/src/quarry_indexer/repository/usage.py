"""Statements of what a tenant used, by day."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from quarry_common.contracts.usage import IndexDay
from quarry_common.postgres.pool import Connection

_DAYS = """
    SELECT u.day, u.documents_added, u.bytes_added, u.chunks, u.tokens,
        coalesce(s.documents, 0) AS documents, coalesce(s.storage_bytes, 0) AS storage_bytes
    FROM usage_days u
    LEFT JOIN LATERAL (
        SELECT documents, storage_bytes FROM usage_days
        WHERE tenant_id = u.tenant_id AND day <= u.day AND documents IS NOT NULL
        ORDER BY day DESC LIMIT 1) s ON true
"""


async def activated(connection: Connection, tenant_id: UUID, keys: Sequence[tuple[UUID, int]]) -> None:
    """Add the chunks of versions, and the tokens in them, to the day on which they became searchable.

    Acceptances of the tenant wait for the day's row: take it last.
    """
    await connection.execute(
        """
        INSERT INTO usage_days AS u (tenant_id, day, chunks, tokens)
        SELECT $1, (clock_timestamp() AT TIME ZONE 'UTC')::date, count(*), coalesce(sum(c.token_count), 0)
        FROM unnest($2::uuid[], $3::int[]) AS k (document_id, version)
        JOIN chunks c ON c.document_id = k.document_id AND c.version = k.version
        ON CONFLICT (tenant_id, day) DO UPDATE
            SET chunks = u.chunks + EXCLUDED.chunks, tokens = u.tokens + EXCLUDED.tokens
        """,
        tenant_id,
        [document_id for document_id, _ in keys],
        [version for _, version in keys],
    )


async def days(connection: Connection, tenant_id: UUID, first: date, last: date) -> list[IndexDay]:
    """Return the days from `first` to `last` on which something changed, oldest first.

    A day on which no document came or went has what the day before had.
    """
    rows = await connection.fetch(
        f"{_DAYS} WHERE u.tenant_id = $1 AND u.day BETWEEN $2 AND $3 ORDER BY u.day",
        tenant_id,
        first,
        last,
    )
    return [IndexDay(**row) for row in rows]


async def last_before(connection: Connection, tenant_id: UUID, first: date) -> IndexDay | None:
    """Return the last day before `first` on which something changed."""
    row = await connection.fetchrow(
        f"{_DAYS} WHERE u.tenant_id = $1 AND u.day < $2 ORDER BY u.day DESC LIMIT 1",
        tenant_id,
        first,
    )
    return IndexDay(**row) if row else None
