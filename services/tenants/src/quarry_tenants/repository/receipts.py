"""Receipts of requests that count once, however often they come."""

from collections.abc import Sequence
from uuid import UUID

from quarry_common.postgres.pool import Connection

KEEP_MINUTES = 120
"""Twice as long as a gateway repeats one."""
EXPIRED_AT_A_TIME = 5_000


async def granted(connection: Connection, tenant_id: UUID, receipt_id: UUID) -> int | None:
    """Return what was granted to a request that came before, or None when it did not."""
    found: int | None = await connection.fetchval(
        "SELECT granted FROM receipts WHERE tenant_id = $1 AND id = $2", tenant_id, receipt_id
    )
    return found


async def add(connection: Connection, tenant_id: UUID, receipt_id: UUID, granted: int = 0) -> bool:
    """Note a request, in the transaction of what it does; return whether it had not come before.

    Of two that come at once, the second waits for the first to end.
    """
    added = await connection.fetchval(
        """
        INSERT INTO receipts (tenant_id, id, granted) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING RETURNING true
        """,
        tenant_id,
        receipt_id,
        granted,
    )
    return added is not None


async def add_all(connection: Connection, tenant_id: UUID, receipt_ids: Sequence[UUID]) -> set[UUID]:
    """Note requests, in the transaction of what they do; return those that had not come before."""
    rows = await connection.fetch(
        """
        INSERT INTO receipts (tenant_id, id, granted) SELECT $1, id, 0 FROM unnest($2::uuid[]) AS id
        ON CONFLICT DO NOTHING RETURNING id
        """,
        tenant_id,
        sorted(receipt_ids),
    )
    return {row["id"] for row in rows}


async def expire(worker: Connection) -> int:
    """Forget the oldest of those that nobody repeats any more, a bounded number; return how many.

    Crosses tenants: their age is what counts.
    """
    done: str = await worker.execute(
        """
        DELETE FROM receipts WHERE (tenant_id, id) IN (
            SELECT tenant_id, id FROM receipts
            WHERE at < now() - make_interval(mins => $1) ORDER BY at LIMIT $2
        )
        """,
        KEEP_MINUTES,
        EXPIRED_AT_A_TIME,
    )
    return int(done.removeprefix("DELETE "))
