"""Statements that forget what has served its time. They cross tenants, as the worker role, in small batches;
what is pending or held is never forgotten."""

from datetime import datetime

from quarry_common.postgres.pool import Connection

AT_A_TIME = 500


async def expire_held(connection: Connection, before: datetime) -> int:
    """Give up deliveries held since before a time; return how many."""
    return _count(
        await connection.execute(
            """
            UPDATE deliveries SET state = 'expired' WHERE id = ANY(ARRAY(
                SELECT id FROM deliveries WHERE state = 'held' AND held_at < $1
                ORDER BY held_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED))
            """,
            before,
            AT_A_TIME,
        )
    )


async def hold_stragglers(connection: Connection, now: datetime) -> int:
    """Hold what is still pending for endpoints that are disabled; return how many."""
    return _count(
        await connection.execute(
            """
            UPDATE deliveries SET state = 'held', held_at = $1, next_attempt_at = NULL WHERE id = ANY(ARRAY(
                SELECT d.id FROM endpoints e CROSS JOIN LATERAL (
                    SELECT id FROM deliveries
                    WHERE endpoint_id = e.id AND state = 'pending' AND NOT forced LIMIT $2) d
                WHERE NOT e.enabled LIMIT $2))
            """,
            now,
            AT_A_TIME,
        )
    )


async def forget_deliveries(connection: Connection, before: datetime) -> int:
    """Delete deliveries made before a time that are over, with their attempts; return how many."""
    return _count(
        await connection.execute(
            """
            DELETE FROM deliveries WHERE id = ANY(ARRAY(
                SELECT id FROM deliveries
                WHERE state IN ('delivered', 'failed', 'expired') AND created_at < $1
                ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))
            """,
            before,
            AT_A_TIME,
        )
    )


async def forget_messages(
    connection: Connection, before: datetime, after: datetime
) -> tuple[int, datetime | None]:
    """Delete messages kept since before a time that no delivery names.

    Looks at a batch of those kept since `after` or later; returns how many it looked at and where to go on.
    """
    row = await connection.fetchrow(
        """
        WITH old AS (
            SELECT tenant_id, id, created_at FROM messages WHERE created_at >= $2 AND created_at < $1
            ORDER BY created_at LIMIT $3),
        gone AS (
            DELETE FROM messages m USING old WHERE m.tenant_id = old.tenant_id AND m.id = old.id
              AND NOT EXISTS (
                SELECT 1 FROM deliveries d WHERE d.tenant_id = old.tenant_id AND d.message_id = old.id))
        SELECT count(*) AS looked_at, max(created_at) AS reached FROM old
        """,
        before,
        after,
        AT_A_TIME,
    )
    assert row is not None  # noqa: S101 - a count is a row
    return row["looked_at"], row["reached"]


async def forget_hours(connection: Connection, before: datetime) -> int:
    """Delete rollups of hours before a time; return how many."""
    done = 0
    for statement in (
        """
        DELETE FROM hours WHERE (endpoint_id, hour) IN (
            SELECT endpoint_id, hour FROM hours WHERE hour < $1 ORDER BY hour LIMIT $2)
        """,
        """
        DELETE FROM latencies WHERE (endpoint_id, hour, bucket) IN (
            SELECT endpoint_id, hour, bucket FROM latencies WHERE hour < $1 ORDER BY hour LIMIT $2)
        """,
    ):
        done = max(done, _count(await connection.execute(statement, before, AT_A_TIME)))
    return done


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
