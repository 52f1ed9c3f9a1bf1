"""Reading which queries come first in a range."""

from collections.abc import Collection, Sequence
from datetime import datetime

import asyncpg

from quarry_analytics.domain.ranges import Interval, Level, Tile
from quarry_analytics.domain.ranking import Column, RankedBy, first, last_times, leading, place_of
from quarry_analytics.repository.reading import Chosen, condition, joined
from quarry_common.postgres.pool import Connection

_COUNTS = "octet_length(queries) / 2"
"""Bytes of a column of counts, four for each query; `queries` has eight."""
_TIMES = "octet_length(queries)"

_COUNTED = {
    RankedBy.SEARCHES: "count(*)",
    RankedBy.NO_RESULTS: "count(*) FILTER (WHERE total = 0)",
    RankedBy.LOW_CONFIDENCE: "count(*) FILTER (WHERE low_confidence)",
}


async def most(
    connection: Connection, chosen: Chosen, tiled: Sequence[Tile], by: RankedBy, limit: int
) -> list[int]:
    """Return the queries with most searches, or most of those named by `by`; of equal ones those seen
    last."""
    days = joined([Interval(tile.start, tile.end) for tile in tiled if tile.level is Level.DAY])
    edges = [Interval(tile.start, tile.end) for tile in tiled if tile.level is None]
    # Of each day four bytes for each query are read. When they were seen last is asked of the few that equal
    # each other.
    counts = [
        Column.stored_counts(*stored)
        for stored in await _columns(connection, chosen, days, f"{place_of(by)} * {_COUNTS}", _COUNTS)
    ]
    counts += [await _counts_of(connection, chosen, part, by) for part in edges]
    sums = leading(counts, limit)
    if len(set(sums.values())) == len(sums):
        return first(sums, {}, limit)
    times = [
        Column.stored_times(*stored)
        for stored in await _columns(connection, chosen, days, f"{len(RankedBy)} * {_COUNTS}", _TIMES)
    ]
    times += [await _times_of(connection, chosen, part, sums) for part in edges]
    return first(sums, last_times(times, sums), limit)


async def _columns(
    connection: Connection, chosen: Chosen, days: tuple[list[datetime], list[datetime]], at: str, length: str
) -> list[tuple[bytes, bytes]]:
    """Return the hashes of each day's queries and one column of their ranks, of which no more is read."""
    found = await connection.fetch(
        f"""
        SELECT queries, substr(ranks, 1 + {at}, {length})
        FROM spans, unnest($4::timestamptz[], $5::timestamptz[]) AS part (part_start, part_end)
        WHERE {condition(chosen)} AND level = 'day' AND start >= part_start AND start < part_end
            AND searches > 0 AND ranks <> ''
        """,  # noqa: S608
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        *days,
    )
    return [(row[0], row[1]) for row in found]


def _ranked(chosen: Chosen, number: str) -> str:
    """Return a statement that reads a number of each query from single searches, in the order of hashes.

    All that it reads is in the index. Bounds are plain values, or all partitions would be read.
    """
    return f"""
        SELECT coalesce(array_agg(query_hash), '{{}}'), coalesce(array_agg(number), '{{}}')
        FROM (
            SELECT query_hash, {number} AS number FROM searches
            WHERE {condition(chosen)} AND occurred_at >= $4 AND occurred_at < $5
                AND NOT collapsed AND NOT continued AND ($6::bigint[] IS NULL OR query_hash = ANY($6))
            GROUP BY query_hash ORDER BY query_hash
        ) each
        """  # noqa: S608


async def _counts_of(connection: Connection, chosen: Chosen, part: Interval, by: RankedBy) -> Column:
    """Return how often queries were searched in a part of time, as single searches tell."""
    return Column.of_counts(*await _numbers(connection, chosen, part, _COUNTED[by], None))


async def _times_of(
    connection: Connection, chosen: Chosen, part: Interval, queries: Collection[int]
) -> Column:
    """Return when some queries were searched last in a part of time, as single searches tell."""
    return Column.of_times(*await _numbers(connection, chosen, part, "max(occurred_at)", queries))


async def _numbers(
    connection: Connection, chosen: Chosen, part: Interval, number: str, queries: Collection[int] | None
) -> asyncpg.Record:
    found = await connection.fetchrow(
        _ranked(chosen, number),
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        part.start,
        part.end,
        None if queries is None else list(queries),
    )
    assert found is not None  # noqa: S101 - an aggregate has one row
    return found
