"""Statements that hold what is pending while its endpoint is disabled, and let it go again."""

from datetime import datetime
from uuid import UUID

from quarry_common.postgres.pool import Connection

HELD_AT_ONCE = 10_000
"""Deliveries that are held with the disabling of their endpoint; more are by and by."""


async def hold(connection: Connection, endpoint_id: UUID, now: datetime) -> int:
    """Hold what is pending for an endpoint, `HELD_AT_ONCE` at most, but what is forced; return how many."""
    status = await connection.execute(
        """
        UPDATE deliveries SET state = 'held', held_at = $2, next_attempt_at = NULL
        WHERE id = ANY(ARRAY(
            SELECT id FROM deliveries WHERE endpoint_id = $1 AND state = 'pending' AND NOT forced
            ORDER BY next_attempt_at LIMIT $3))
        """,
        endpoint_id,
        now,
        HELD_AT_ONCE,
    )
    return int(status.rpartition(" ")[2])


async def release(connection: Connection, endpoint_id: UUID, now: datetime) -> int:
    """Make what is held pending again, for an endpoint that is enabled; return how many."""
    status = await connection.execute(
        """
        UPDATE deliveries SET state = 'pending', step = 0, next_attempt_at = $2, held_at = NULL
        WHERE endpoint_id = $1 AND state = 'held'
        """,
        endpoint_id,
        now,
    )
    return int(status.rpartition(" ")[2])
