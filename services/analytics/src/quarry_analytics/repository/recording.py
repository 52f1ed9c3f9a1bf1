"""Writing down what the search log tells, several tenants' at once, each search once."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from quarry_common.postgres.pool import Connection

_SEARCHES = (
    "tenant_id", "query_id", "occurred_at", "query", "query_hash", "mode", "collection", "filtered",
    "continued", "low_confidence", "total", "results", "top_score", "similarity", "duration_ms", "cache",
    "key_id", "user_id", "client_id", "trace_id",
)  # fmt: skip
_INTERACTIONS = (
    "tenant_id", "event_id", "query_id", "searched_at", "occurred_at", "action", "document_id", "value",
    "user_id", "client_id", "session_id",
)  # fmt: skip


class SearchRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `searches`; the columns are in the order of its fields."""

    tenant_id: UUID
    query_id: UUID
    occurred_at: datetime
    query: str
    query_hash: int
    mode: str
    collection: str
    filtered: bool
    continued: bool
    low_confidence: bool
    total: int
    results: list[UUID]
    top_score: float | None
    similarity: float | None
    duration_ms: float
    cache: str
    key_id: UUID | None
    user_id: str | None
    client_id: str | None
    trace_id: str


class InteractionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `interactions`."""

    tenant_id: UUID
    event_id: UUID
    query_id: UUID
    searched_at: datetime
    occurred_at: datetime
    action: str
    document_id: UUID | None
    value: float | None
    user_id: str | None
    client_id: str | None
    session_id: str | None


class UnrecordedRow(msgspec.Struct, frozen=True):
    """A row of `unrecorded`."""

    tenant_id: UUID
    id: UUID
    occurred_at: datetime
    searches: int


async def add_days(worker: Connection, days: Collection[date]) -> None:
    """Make the partitions of days that have none. In the worker's transaction: partitions are no tenant's."""
    for day in sorted(days):
        await worker.execute("SELECT add_day($1)", day)


async def forgotten(worker: Connection, tenants: Collection[UUID]) -> dict[tuple[UUID, bytes], datetime]:
    """Return which users of these tenants were forgotten, and when; users are given as digests."""
    rows = await worker.fetch(
        "SELECT tenant_id, user_digest, forgotten_at FROM forgotten_users WHERE tenant_id = ANY($1::uuid[])",
        list(tenants),
    )
    return {(row["tenant_id"], row["user_digest"]): row["forgotten_at"] for row in rows}


async def add_searches(worker: Connection, rows: Sequence[SearchRow]) -> int:
    """Write searches that are not written yet; return how many. The worker's, since rows are of many
    tenants."""
    return await _add(worker, "searches", _SEARCHES, rows)


async def add_interactions(worker: Connection, rows: Sequence[InteractionRow]) -> int:
    """Write interactions that are not written yet; return how many."""
    return await _add(worker, "interactions", _INTERACTIONS, rows)


async def _add(worker: Connection, table: str, columns: Sequence[str], rows: Sequence[msgspec.Struct]) -> int:
    # COPY does not go into tables with row-level security: by way of a table of the session, which is
    # empty at
    # the end of each transaction.
    await worker.execute(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS new_{table} ON COMMIT DELETE ROWS AS "  # noqa: S608
        f"SELECT {', '.join(columns)} FROM {table} WITH NO DATA"
    )
    records = [msgspec.structs.astuple(row) for row in rows]
    await worker.copy_records_to_table(
        f"new_{table}", records=records, columns=columns, schema_name="pg_temp"
    )
    done = await worker.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns)} FROM pg_temp.new_{table} "  # noqa: S608
        "ON CONFLICT DO NOTHING"
    )
    return int(done.rpartition(" ")[2])


async def add_unrecorded(worker: Connection, rows: Sequence[UnrecordedRow]) -> None:
    """Write how many searches the log does not hold, each message's once."""
    await worker.executemany(
        """
        INSERT INTO unrecorded (tenant_id, id, occurred_at, searches) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        [msgspec.structs.astuple(row) for row in rows],
    )


async def mark(worker: Connection, days: Collection[tuple[UUID, date]]) -> None:
    """Note that there is something new of these days. In the order of keys, so that two cannot lock each
    other."""
    ordered = sorted(days)
    await worker.execute(
        """
        INSERT INTO dirty_days (tenant_id, day)
        SELECT * FROM unnest($1::uuid[], $2::date[])
        ON CONFLICT (tenant_id, day) DO UPDATE SET marks = dirty_days.marks + 1
        """,
        [tenant_id for tenant_id, _ in ordered],
        [day for _, day in ordered],
    )
