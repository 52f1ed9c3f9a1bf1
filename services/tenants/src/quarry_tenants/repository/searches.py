"""Searches of each day: leased and answered."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from quarry_common.contracts.usage import SearchDay, SearchTally
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain.searches import CountedDay

DROPPED_AT_A_TIME = 1_000


async def lock(connection: Connection, tenant_id: UUID, day: date) -> CountedDay:
    """Return a day, which nobody else changes until the transaction ends."""
    found = await _find(connection, tenant_id, day)
    if found is None:
        await connection.execute(
            "INSERT INTO search_days (tenant_id, day) VALUES ($1, $2) ON CONFLICT DO NOTHING", tenant_id, day
        )
        found = await _find(connection, tenant_id, day)
        assert found is not None  # noqa: S101 - rows are removed with their tenant, whose purge has not begun
    return found


async def store(connection: Connection, tenant_id: UUID, day: date, counted: CountedDay) -> None:
    """Store a day that is locked."""
    await connection.execute(
        """
        UPDATE search_days SET leased = $3, answered = $4, told = $5 WHERE tenant_id = $1 AND day = $2
        """,
        tenant_id,
        day,
        counted.leased,
        counted.answered,
        counted.told,
    )


async def count(
    connection: Connection, tallies: Sequence[SearchTally]
) -> list[tuple[SearchTally, CountedDay]]:
    """Count answered searches of many tenants, and return each tally with its day after it.

    Tenants that are not there or are being purged are left out. Days are locked in the order given. The
    transaction is that of the last tenant afterwards.
    """
    rows = await connection.fetch(
        """
        SELECT t.place, d.leased, d.answered, d.told
        FROM unnest($1::uuid[], $2::date[], $3::bigint[]) WITH ORDINALITY AS t (tenant, day, answered, place),
            count_searches(t.tenant, t.day, t.answered) AS d
        """,
        [tally.tenant_id for tally in tallies],
        [tally.day for tally in tallies],
        [tally.answered for tally in tallies],
    )
    return [
        (tallies[row["place"] - 1], CountedDay(row["leased"], row["answered"], row["told"])) for row in rows
    ]


async def answered(connection: Connection, tenant_id: UUID, first: date, last: date) -> list[SearchDay]:
    """Return the searches answered from one day to another, both included; oldest day first."""
    rows = await connection.fetch(
        """
        SELECT day, answered FROM search_days
        WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 AND answered > 0 ORDER BY day
        """,
        tenant_id,
        first,
        last,
    )
    return [SearchDay(row["day"], row["answered"]) for row in rows]


async def drop_lost_leases(worker: Connection, before: date) -> int:
    """Count as leased what was answered, of the oldest days before one, a bounded number; return of how many.

    Crosses tenants: their days end together.
    """
    rows = await worker.fetch(
        """
        UPDATE search_days SET leased = answered WHERE (tenant_id, day) IN (
            SELECT tenant_id, day FROM search_days WHERE day < $1 AND leased > answered ORDER BY day LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        RETURNING 1
        """,
        before,
        DROPPED_AT_A_TIME,
    )
    return len(rows)


async def _find(connection: Connection, tenant_id: UUID, day: date) -> CountedDay | None:
    row = await connection.fetchrow(
        "SELECT leased, answered, told FROM search_days WHERE tenant_id = $1 AND day = $2 FOR UPDATE",
        tenant_id,
        day,
    )
    return CountedDay(**row) if row else None
