"""Computing rollups anew: what is read of a tenant's day, and what is written."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import date, datetime, timedelta
from operator import itemgetter
from uuid import UUID

import asyncpg
import msgspec

from quarry_analytics.domain.ranges import Level
from quarry_analytics.domain.ranking import Ranks
from quarry_analytics.domain.tallies import QueryTally, Tally
from quarry_analytics.repository.reading import FETCHED
from quarry_common.postgres.pool import Connection, stream

SpanKey = tuple[Level, datetime, str, str]
"""Level, beginning, mode and collection."""
QueryKey = tuple[int, str, str]
"""Hash of the query, mode and collection."""


class DirtyDay(msgspec.Struct, frozen=True):
    """A day whose rollups are to be computed, as far as `marks` tells of it."""

    tenant_id: UUID
    day: date
    marks: int


async def dirty(worker: Connection, limit: int) -> list[DirtyDay]:
    """Return days to compute anew, of any tenant."""
    rows = await worker.fetch(
        "SELECT tenant_id, day, marks FROM dirty_days ORDER BY day, tenant_id LIMIT $1", limit
    )
    return [DirtyDay(row["tenant_id"], row["day"], row["marks"]) for row in rows]


async def lock(connection: Connection, found: DirtyDay) -> int | None:
    """Let no other process compute the day meanwhile; return its marks now, None when it was computed."""
    marks: int | None = await connection.fetchval(
        "SELECT marks FROM dirty_days WHERE tenant_id = $1 AND day = $2 FOR UPDATE",
        found.tenant_id,
        found.day,
    )
    return marks


async def typed(
    connection: Connection, tenant_id: UUID, start: datetime, end: datetime
) -> AsyncIterator[asyncpg.Record]:
    """Yield searches of clients that can be told apart: id, time, client, query, and whether it is
    collapsed."""
    async for row in stream(
        connection,
        """
        SELECT query_id, occurred_at, coalesce('c' || client_id, 'u' || user_id) AS client, query, collapsed
        FROM searches
        WHERE tenant_id = $1 AND occurred_at >= $2 AND occurred_at < $3 AND NOT continued
            AND (client_id IS NOT NULL OR user_id IS NOT NULL)
        """,
        tenant_id,
        start,
        end,
        at_a_time=FETCHED,
    ):
        yield row


async def set_collapsed(
    connection: Connection, tenant_id: UUID, searches: Mapping[UUID, datetime], *, collapsed: bool
) -> None:
    """Note which searches are collapsed; they are given with their times."""
    await connection.execute(
        """
        UPDATE searches SET collapsed = $4
        FROM unnest($2::uuid[], $3::timestamptz[]) AS named (query_id, occurred_at)
        WHERE searches.tenant_id = $1 AND searches.query_id = named.query_id
            AND searches.occurred_at = named.occurred_at
        """,
        tenant_id,
        list(searches),
        list(searches.values()),
        collapsed,
    )


async def collapsed_by_quarter(
    connection: Connection, tenant_id: UUID, day: datetime
) -> list[tuple[datetime, str, str, int]]:
    """Return how many searches are collapsed in each quarter of an hour of a day, by mode and collection."""
    rows = await connection.fetch(
        """
        SELECT date_bin('15 minutes', occurred_at, $2) AS quarter, mode, collection, count(*) AS searches
        FROM searches
        WHERE tenant_id = $1 AND occurred_at >= $2 AND occurred_at < $3 AND collapsed
        GROUP BY 1, 2, 3
        """,
        tenant_id,
        day,
        day + timedelta(days=1),
    )
    return [(row["quarter"], row["mode"], row["collection"], row["searches"]) for row in rows]


async def add_spans(
    connection: Connection,
    tenant_id: UUID,
    day: datetime,
    spans: Mapping[SpanKey, Tally],
    ranks: Mapping[tuple[str, str], Ranks],
) -> None:
    """Write the spans of a day in the place of those that were there, and the ranks of each mode and
    collection."""
    await connection.execute(
        "DELETE FROM spans WHERE tenant_id = $1 AND start >= $2 AND start < $3",
        tenant_id,
        day,
        day + timedelta(days=1),
    )
    await connection.executemany(
        """
        INSERT INTO spans (tenant_id, level, start, mode, collection, searches, results, no_results,
            low_confidence, cache_hits, duration_ms, durations, clicks, clicked, reciprocal_ranks, collapsed,
            queries, users, ranks)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
        """,
        [
            (
                tenant_id, level.value, start, mode, collection, tally.searches, tally.results,
                tally.no_results,
                tally.low_confidence, tally.cache_hits, tally.duration_ms, tally.durations.encode(),
                tally.clicks, tally.clicked, tally.reciprocal_ranks, tally.collapsed,
                tally.queries.encode(), tally.users.encode(),
                ranks[mode, collection].encode() if level is Level.DAY and tally.searches else b"",
            )
            for (level, start, mode, collection), tally in spans.items()
        ],
    )  # fmt: skip


async def add_queries(
    connection: Connection, tenant_id: UUID, day: date, queries: Mapping[QueryKey, QueryTally]
) -> None:
    """Write the queries of a day in the place of those that were there.

    They are written in the order of their keys, so that the rows of one query lie on one page of the disk.
    """
    await connection.execute("DELETE FROM query_days WHERE tenant_id = $1 AND day = $2", tenant_id, day)
    await connection.executemany(
        """
        INSERT INTO query_days (tenant_id, day, query_hash, mode, collection, searches, results, no_results,
            low_confidence, duration_ms, durations, clicks, clicked, reciprocal_ranks, users, first_seen,
            last_seen, query)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
        """,
        [
            (
                tenant_id, day, query_hash, mode, collection, each.tally.searches, each.tally.results,
                each.tally.no_results, each.tally.low_confidence, each.tally.duration_ms,
                each.tally.durations.encode(), each.tally.clicks, each.tally.clicked,
                each.tally.reciprocal_ranks, each.tally.users.encode(), each.first_seen, each.last_seen,
                each.query,
            )
            for (query_hash, mode, collection), each in sorted(queries.items(), key=itemgetter(0))
        ],
    )  # fmt: skip


async def clean(
    connection: Connection, found: DirtyDay, refreshed_at: datetime, clicks_since: date | None
) -> None:
    """Note that the day's rollups hold what there was by `marks`, and when."""
    await connection.execute(
        "DELETE FROM dirty_days WHERE tenant_id = $1 AND day = $2 AND marks = $3",
        found.tenant_id,
        found.day,
        found.marks,
    )
    await connection.execute(
        """
        INSERT INTO refreshes (tenant_id, refreshed_at, clicks_since) VALUES ($1, $2, $3)
        ON CONFLICT (tenant_id) DO UPDATE SET
            refreshed_at = greatest(refreshes.refreshed_at, EXCLUDED.refreshed_at),
            clicks_since = least(refreshes.clicks_since, EXCLUDED.clicks_since)
        """,
        found.tenant_id,
        refreshed_at,
        clicks_since,
    )


async def expire(worker: Connection, before: date, tenants: Collection[UUID] | None = None) -> None:
    """Delete rollups of days before; of certain tenants, or of all. In the worker's transaction."""
    chosen = None if tenants is None else list(tenants)
    for statement in (
        "DELETE FROM spans WHERE start < ($1::date)::timestamp AT TIME ZONE 'UTC'",
        "DELETE FROM query_days WHERE day < $1",
        "DELETE FROM dirty_days WHERE day < $1",
    ):
        await worker.execute(f"{statement} AND ($2::uuid[] IS NULL OR tenant_id = ANY($2))", before, chosen)
