"""Forgetting what is older than it is to be kept."""

from collections.abc import Collection
from datetime import date, datetime
from uuid import UUID

from quarry_common.postgres.pool import Connection


async def days(worker: Connection) -> list[date]:
    """Return the days that there are partitions of."""
    return [row["days"] for row in await worker.fetch("SELECT days()")]


async def drop_day(worker: Connection, day: date) -> None:
    """Remove all that was recorded on a day, of every tenant: the partition goes, no row is looked at."""
    await worker.execute("SELECT drop_day($1)", day)


async def shorter(worker: Connection, usual_days: int) -> dict[int, list[UUID]]:
    """Return tenants whose searches are kept for another number of days than the usual, by that number."""
    rows = await worker.fetch(
        """
        SELECT days, array_agg(tenant_id) AS tenants FROM retentions WHERE days <> $1 GROUP BY days
        """,
        usual_days,
    )
    return {row["days"]: row["tenants"] for row in rows}


async def remove(worker: Connection, tenants: Collection[UUID], start: datetime, end: datetime) -> int:
    """Delete what was recorded of some tenants in a range; return how many rows."""
    removed = 0
    for table, column in (
        ("searches", "occurred_at"),
        ("interactions", "searched_at"),
        ("unrecorded", "occurred_at"),
    ):
        done = await worker.execute(
            f"""
            DELETE FROM {table}
            WHERE tenant_id = ANY($1::uuid[]) AND {column} >= $2 AND {column} < $3
            """,  # noqa: S608 - the names above
            list(tenants),
            start,
            end,
        )
        removed += int(done.rpartition(" ")[2])
    return removed


async def remove_unrecorded(worker: Connection, before: datetime) -> None:
    """Delete counts of searches that were not recorded before a time."""
    await worker.execute("DELETE FROM unrecorded WHERE occurred_at < $1", before)


async def retention_of(connection: Connection, tenant_id: UUID) -> int | None:
    """Return for how many days a tenant's searches are kept, if not as long as usual."""
    found: int | None = await connection.fetchval(
        "SELECT days FROM retentions WHERE tenant_id = $1", tenant_id
    )
    return found


async def set_retention(connection: Connection, tenant_id: UUID, days: int | None) -> None:
    """Keep a tenant's searches for so many days; None is as long as usual."""
    if days is None:
        await connection.execute("DELETE FROM retentions WHERE tenant_id = $1", tenant_id)
        return
    await connection.execute(
        """
        INSERT INTO retentions (tenant_id, days) VALUES ($1, $2)
        ON CONFLICT (tenant_id) DO UPDATE SET days = EXCLUDED.days
        """,
        tenant_id,
        days,
    )
