"""Statements that remove a tenant, piece by piece, and count what is left of it."""

from typing import Final
from uuid import UUID

from quarry_common.postgres.pool import Connection

TABLES: Final = (
    "attempts", "deliveries", "messages", "hours", "latencies", "replays", "queues", "endpoints", "turns",
    "quota_notices", "idempotency_keys", "outbox",
)  # fmt: skip
"""In the order in which they are emptied."""


async def stop(connection: Connection, tenant_id: UUID) -> None:
    """Let none of the tenant's endpoints get anything more."""
    await connection.execute(
        """
        UPDATE endpoints SET enabled = false, disabled_reason = 'owner',
            disabled_at = coalesce(disabled_at, now())
        WHERE tenant_id = $1 AND disabled_reason IS DISTINCT FROM 'owner'
        """,
        tenant_id,
    )


async def remove(connection: Connection, table: str, tenant_id: UUID, limit: int) -> int:
    """Delete up to `limit` rows of a tenant from a table; return how many.

    Messages that are not published are left to the relay.
    """
    status = await connection.execute(
        f"""
        DELETE FROM {table} WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM {table} WHERE tenant_id = $1
              {"AND published_at IS NOT NULL" if table == "outbox" else ""}
            LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,  # noqa: S608 - a name of a table
        tenant_id,
        limit,
    )
    return int(status.rpartition(" ")[2])


async def left(connection: Connection, tenant_id: UUID, limit: int) -> dict[str, int]:
    """Return how many rows of a tenant are left, by table; no more than `limit` are counted of each."""
    counted: dict[str, int] = {}
    for table in TABLES:
        counted[table] = await connection.fetchval(
            f"SELECT count(*) FROM (SELECT FROM {table} WHERE tenant_id = $1 LIMIT $2) counted",  # noqa: S608
            tenant_id,
            limit,
        )
    return counted
