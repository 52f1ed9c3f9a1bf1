"""Reading searches and rollups. A tenant of None stands for all, and needs the worker's transaction."""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from quarry_analytics.domain.distinct import Distinct
from quarry_analytics.domain.ranges import Interval, Level
from quarry_analytics.domain.sketches import Sketch
from quarry_analytics.domain.tallies import QueryTally, Row, Tally
from quarry_analytics.domain.texts import hash_of
from quarry_common.postgres.pool import Connection, stream

FETCHED = 2_000
"""Rows that are fetched at a time where there may be many."""


class Chosen(msgspec.Struct, frozen=True):
    """Whose searches are read, and of which collection and mode; None is any."""

    tenant_id: UUID | None
    collection: str | None = None
    mode: str | None = None


def condition(chosen: Chosen) -> str:
    """Return the condition of what is chosen, whose values are $1 to $3; a tenant is named so that its
    index is used whatever the plan is made for."""
    owner = _owner(chosen.tenant_id)
    return f"{owner} AND ($2::text IS NULL OR collection = $2) AND ($3::text IS NULL OR mode = $3)"


def _owner(tenant_id: UUID | None) -> str:
    return "$1::uuid IS NULL" if tenant_id is None else "tenant_id = $1"


def _rows(chosen: Chosen) -> str:
    """Return the statement of `rows`. Both tables are told the range, or each plan would hold a scan of every
    partition of one: 30 ms for ninety of them."""
    owner = "" if chosen.tenant_id is None else "i.tenant_id = $1 AND"
    return f"""
        SELECT s.query_id, s.occurred_at, s.query, s.query_hash, s.mode, s.collection, s.total,
        s.low_confidence, s.duration_ms, s.cache = 'hit' AS cached, s.user_id, c.clicks, c.position
        FROM (
            SELECT * FROM searches
            WHERE {condition(chosen)} AND occurred_at >= $4 AND occurred_at < $5
                AND NOT collapsed AND NOT continued
                AND ($6::bigint[] IS NULL OR query_hash = ANY($6)) AND ($7::text IS NULL OR user_id = $7)
        ) s LEFT JOIN (
            SELECT i.query_id, i.searched_at, count(*) AS clicks,
                (array_agg(array_position(w.results, i.document_id) ORDER BY i.occurred_at, i.event_id))[1]
                    AS position
            FROM interactions i JOIN searches w ON w.query_id = i.query_id AND w.occurred_at = i.searched_at
                AND w.tenant_id = i.tenant_id
            WHERE {owner} i.searched_at >= $4 AND i.searched_at < $5
                AND w.occurred_at >= $4 AND w.occurred_at < $5
                AND i.action = 'click' AND i.document_id = ANY(w.results)
            GROUP BY i.query_id, i.searched_at
        ) c ON c.query_id = s.query_id AND c.searched_at = s.occurred_at
        """  # noqa: S608 - conditions of this module


async def rows(
    connection: Connection,
    chosen: Chosen,
    start: datetime,
    end: datetime,
    *,
    queries: Collection[int] | None = None,
    user_id: str | None = None,
) -> AsyncIterator[Row]:
    """Yield the searches of a range that count, with what was clicked of their own answers."""
    async for row in stream(
        connection,
        _rows(chosen),
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        start,
        end,
        None if queries is None else list(queries),
        user_id,
        at_a_time=FETCHED,
    ):
        yield Row(
            query_id=row["query_id"],
            occurred_at=row["occurred_at"],
            query=row["query"],
            query_hash=row["query_hash"],
            mode=row["mode"],
            collection=row["collection"],
            total=row["total"],
            low_confidence=row["low_confidence"],
            duration_ms=row["duration_ms"],
            cached=row["cached"],
            user_hash=None if row["user_id"] is None else hash_of(row["user_id"]),
            clicks=row["clicks"] or 0,
            position=row["position"],
        )


async def spans(
    connection: Connection, chosen: Chosen, level: Level, parts: Sequence[Interval]
) -> list[tuple[datetime, Tally]]:
    """Return the stored figures of parts of time, each with the beginning of its span."""
    found = await connection.fetch(
        f"""
        SELECT start, mode, searches, results, no_results, low_confidence, cache_hits, duration_ms, durations,
            clicks, clicked, reciprocal_ranks, collapsed, queries, users
        FROM spans, unnest($5::timestamptz[], $6::timestamptz[]) AS part (part_start, part_end)
        WHERE {condition(chosen)} AND level = $4 AND start >= part_start AND start < part_end
        """,  # noqa: S608
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        level.value,
        *joined(parts),
    )
    return [
        (
            row["start"],
            Tally(
                searches=row["searches"],
                results=row["results"],
                no_results=row["no_results"],
                low_confidence=row["low_confidence"],
                cache_hits=row["cache_hits"],
                duration_ms=row["duration_ms"],
                durations=Sketch(row["durations"]),
                clicks=row["clicks"],
                clicked=row["clicked"],
                reciprocal_ranks=row["reciprocal_ranks"],
                collapsed=row["collapsed"],
                queries=Distinct(row["queries"]),
                users=Distinct(row["users"]),
                modes={row["mode"]: row["searches"]} if row["searches"] else {},
            ),
        )
        for row in found
    ]


def joined(parts: Sequence[Interval]) -> tuple[list[datetime], list[datetime]]:
    """Return beginnings and ends of parts of time, those that touch each other as one."""
    starts: list[datetime] = []
    ends: list[datetime] = []
    for part in sorted(parts, key=lambda each: each.start):
        if ends and ends[-1] == part.start:
            ends[-1] = part.end
        else:
            starts.append(part.start)
            ends.append(part.end)
    return starts, ends


async def collapsed_in(connection: Connection, chosen: Chosen, start: datetime, end: datetime) -> int:
    """Return how many searches of a range are collapsed."""
    found: int = await connection.fetchval(
        f"""
        SELECT count(*) FROM searches
        WHERE {condition(chosen)} AND occurred_at >= $4 AND occurred_at < $5 AND collapsed
        """,  # noqa: S608
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        start,
        end,
    )
    return found


async def query_days(
    connection: Connection, chosen: Chosen, first: date, last: date, queries: Collection[int]
) -> AsyncIterator[tuple[int, QueryTally]]:
    """Yield the stored figures of queries in each mode, of the days from `first` to `last`, both included."""
    found = await connection.fetch(
        f"""
        SELECT query_hash, mode, sum(searches) AS searches, sum(results)::bigint AS results,
            sum(no_results) AS no_results, sum(low_confidence) AS low_confidence,
            sum(duration_ms) AS duration_ms, array_agg(durations) AS durations, sum(clicks) AS clicks,
            sum(clicked) AS clicked, sum(reciprocal_ranks) AS reciprocal_ranks, array_agg(users) AS users,
            min(first_seen) AS first_seen, max(last_seen) AS last_seen,
            (array_agg(query ORDER BY last_seen DESC, query DESC))[1] AS query
        FROM query_days WHERE {condition(chosen)} AND day BETWEEN $4 AND $5 AND query_hash = ANY($6::bigint[])
        GROUP BY query_hash, mode
        """,  # noqa: S608
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        first,
        last,
        list(queries),
    )
    for row in found:
        durations, users = Sketch(), Distinct()
        for part in row["durations"]:
            durations.merge(Sketch(part))
        for part in row["users"]:
            users.merge(Distinct(part))
        tally = Tally(
            searches=row["searches"],
            results=row["results"],
            no_results=row["no_results"],
            low_confidence=row["low_confidence"],
            duration_ms=row["duration_ms"],
            durations=durations,
            clicks=row["clicks"],
            clicked=row["clicked"],
            reciprocal_ranks=row["reciprocal_ranks"],
            users=users,
            modes={row["mode"]: row["searches"]},
        )
        yield row["query_hash"], QueryTally(tally, row["first_seen"], row["last_seen"], row["query"])


async def refreshed(connection: Connection, tenant_id: UUID | None) -> tuple[datetime | None, date | None]:
    """Return until when rollups hold what was recorded, and the first day of which clicks were told."""
    row = await connection.fetchrow(
        f"""
        SELECT max(refreshed_at) AS refreshed_at, min(clicks_since) AS clicks_since FROM refreshes
        WHERE {_owner(tenant_id)}
        """,  # noqa: S608
        tenant_id,
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row["refreshed_at"], row["clicks_since"]


async def unrecorded(connection: Connection, tenant_id: UUID | None, start: datetime, end: datetime) -> int:
    """Return how many searches of a range were answered and not recorded."""
    found: int = await connection.fetchval(
        f"""
        SELECT coalesce(sum(searches), 0) FROM unrecorded
        WHERE {_owner(tenant_id)} AND occurred_at >= $2 AND occurred_at < $3
        """,  # noqa: S608
        tenant_id,
        start,
        end,
    )
    return found


async def counts(connection: Connection, chosen: Chosen, start: datetime, end: datetime) -> dict[int, int]:
    """Return how often each query was searched in a range."""
    found = await connection.fetch(
        f"""
        SELECT query_hash, count(*) AS searches FROM searches
        WHERE {condition(chosen)} AND occurred_at >= $4 AND occurred_at < $5
            AND NOT collapsed AND NOT continued
        GROUP BY query_hash
        """,  # noqa: S608
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        start,
        end,
    )
    return {row["query_hash"]: row["searches"] for row in found}


async def clients(connection: Connection, chosen: Chosen, start: datetime, end: datetime) -> dict[int, int]:
    """Return by how many clients each query was searched in a range: users, else clients, else keys."""
    found = await connection.fetch(
        f"""
        SELECT query_hash,
            count(DISTINCT coalesce('u' || user_id, 'c' || client_id, 'k' || key_id::text)) AS clients
        FROM searches
        WHERE {condition(chosen)} AND occurred_at >= $4 AND occurred_at < $5
            AND NOT collapsed AND NOT continued
        GROUP BY query_hash
        """,  # noqa: S608
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        start,
        end,
    )
    return {row["query_hash"]: row["clients"] for row in found}


async def spelling(
    connection: Connection, chosen: Chosen, start: datetime, end: datetime, queries: Collection[int]
) -> dict[int, str]:
    """Return how queries were written last in a range."""
    found = await connection.fetch(
        f"""
        SELECT DISTINCT ON (query_hash) query_hash, query FROM searches
        WHERE {condition(chosen)} AND occurred_at >= $4 AND occurred_at < $5 AND query_hash =
        ANY($6::bigint[]) AND NOT collapsed AND NOT continued
        ORDER BY query_hash, occurred_at DESC, query DESC
        """,  # noqa: S608
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        start,
        end,
        list(queries),
    )
    return {row["query_hash"]: row["query"] for row in found}
