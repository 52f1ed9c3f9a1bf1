"""Removing a tenant from the tables, piece by piece."""

from typing import Final
from uuid import UUID

from quarry_common.postgres.pool import Connection

TABLES: Final = {
    "interactions": ("tenant_id", "query_id", "event_id", "searched_at"),
    "searches": ("query_id", "occurred_at"),
    "unrecorded": ("tenant_id", "id"),
    "dirty_days": ("tenant_id", "day"),
    "spans": ("tenant_id", "level", "start", "mode", "collection"),
    "query_days": ("tenant_id", "day", "query_hash", "mode", "collection"),
    "refreshes": ("tenant_id",),
    "retentions": ("tenant_id",),
    "forgotten_users": ("tenant_id", "user_digest"),
    "runs": ("id",),
    "judged_sets": ("id",),
    "idempotency_keys": ("tenant_id", "key_digest"),
}
"""Each with the columns of its key, in the order in which they are emptied."""


async def remove(connection: Connection, tenant_id: UUID, table: str, limit: int) -> int:
    """Delete at most `limit` rows of the tenant whose transaction this is; return how many."""
    key = ", ".join(TABLES[table])
    done = await connection.execute(
        f"""
        DELETE FROM {table} WHERE tenant_id = $1 AND ({key}) IN (
            SELECT {key} FROM {table} WHERE tenant_id = $1 LIMIT $2)
        """,  # noqa: S608 - names of this module
        tenant_id,
        limit,
    )
    return int(done.rpartition(" ")[2])


async def left(connection: Connection, tenant_id: UUID, table: str) -> int:
    """Return how many rows there are of the tenant whose transaction this is."""
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM {table} WHERE tenant_id = $1",  # noqa: S608 - a name of this module
        tenant_id,
    )
    return found
