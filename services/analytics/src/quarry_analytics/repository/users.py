"""Forgetting a user, and telling when one was seen."""

from datetime import date
from uuid import UUID

from quarry_common.postgres.pool import Connection


async def remember_forgotten(connection: Connection, tenant_id: UUID, digest: bytes) -> None:
    """Note that what a user did until now is not to be written down any more."""
    await connection.execute(
        """
        INSERT INTO forgotten_users (tenant_id, user_digest, forgotten_at) VALUES ($1, $2, now())
        ON CONFLICT (tenant_id, user_digest) DO UPDATE SET forgotten_at = EXCLUDED.forgotten_at
        """,
        tenant_id,
        digest,
    )


async def forget(connection: Connection, tenant_id: UUID, user_id: str) -> tuple[int, int, set[date]]:
    """Delete what is recorded of a user; return how many searches and interactions it was, and of which days.

    What others did with the answers to this user's searches goes, too.
    """
    searches = await connection.fetch(
        """
        DELETE FROM searches WHERE tenant_id = $1 AND user_id = $2
        RETURNING query_id, occurred_at, (occurred_at AT TIME ZONE 'UTC')::date AS day
        """,
        tenant_id,
        user_id,
    )
    interactions = await connection.fetch(
        """
        DELETE FROM interactions USING (
            SELECT tenant_id, query_id, event_id, searched_at FROM interactions
            WHERE tenant_id = $1 AND user_id = $2
            UNION
            SELECT i.tenant_id, i.query_id, i.event_id, i.searched_at FROM interactions i
            JOIN unnest($3::uuid[], $4::timestamptz[]) AS s (query_id, occurred_at)
                ON i.query_id = s.query_id AND i.searched_at = s.occurred_at
            WHERE i.tenant_id = $1
        ) AS found
        WHERE interactions.tenant_id = found.tenant_id AND interactions.query_id = found.query_id
            AND interactions.event_id = found.event_id AND interactions.searched_at = found.searched_at
        RETURNING (found.searched_at AT TIME ZONE 'UTC')::date AS day
        """,
        tenant_id,
        user_id,
        [row["query_id"] for row in searches],
        [row["occurred_at"] for row in searches],
    )
    return len(searches), len(interactions), {row["day"] for row in (*searches, *interactions)}
