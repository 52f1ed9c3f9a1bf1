"""Answering questions: what is stored of a range and what is not are added up alike."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime, timedelta
from uuid import UUID

from quarry_analytics.domain.ranges import Interval, Level, intervals, tiles, zone_of
from quarry_analytics.domain.ranking import RankedBy
from quarry_analytics.domain.tallies import QueryTally, Tally
from quarry_analytics.repository import ranking, reading
from quarry_analytics.repository.reading import Chosen
from quarry_common.contracts.analytics import QueryFigures, Selection
from quarry_common.postgres.pool import Connection, Database


def chosen(selection: Selection) -> Chosen:
    """Return whose searches a selection is about."""
    mode = None if selection.mode is None else selection.mode.value
    return Chosen(selection.tenant_id, selection.collection, mode)


def transaction(database: Database, tenant_id: UUID | None) -> AbstractAsyncContextManager[Connection]:
    """Return a transaction that sees one tenant, or, for the operator alone, all of them."""
    return database.worker_transaction() if tenant_id is None else database.tenant_transaction(tenant_id)


def tracked(clicks_since: date | None, end: datetime) -> bool:
    """Whether clicks were told of before the end of a range, so that there being none says something."""
    return clicks_since is not None and clicks_since <= end.date()


async def tally(connection: Connection, selection: Selection) -> Tally:
    """Return what the searches of a range add up to."""
    (found,) = await tallies(connection, selection, [Interval(selection.start, selection.end)])
    return found


async def tallies(connection: Connection, selection: Selection, wanted: Sequence[Interval]) -> list[Tally]:
    """Return what each interval adds up to, as far as it is within the selection; they follow one another."""
    found = [Tally() for _ in wanted]
    starts = [interval.start for interval in wanted]
    who = chosen(selection)
    # Spans of one level lie together for neighbouring intervals: what is read is few ranges, not one per
    # interval.
    ranges: dict[Level | None, list[Interval]] = defaultdict(list)
    for interval in wanted:
        start, end = max(interval.start, selection.start), min(interval.end, selection.end)
        for tile in tiles(start, end):
            ranges[tile.level].append(Interval(tile.start, tile.end))
    for level, parts in ranges.items():
        if level is None:
            for part in parts:
                into = found[bisect_right(starts, part.start) - 1]
                async for row in reading.rows(connection, who, part.start, part.end):
                    into.add(row)
                into.collapsed += await reading.collapsed_in(connection, who, part.start, part.end)
            continue
        for start, one in await reading.spans(connection, who, level, parts):
            found[bisect_right(starts, start) - 1].merge(one)
    return found


async def of_queries(
    connection: Connection, selection: Selection, queries: Collection[int], *, clicks: bool
) -> list[QueryFigures]:
    """Return how queries did in a range, in the order in which they are given; `clicks` whether those are
    told of."""
    found: dict[int, QueryTally] = defaultdict(QueryTally)
    who = chosen(selection)
    for tile in tiles(selection.start, selection.end, [Level.DAY]):
        if tile.level is None:
            async for row in reading.rows(connection, who, tile.start, tile.end, queries=queries):
                found[row.query_hash].add(row)
            continue
        last = (tile.end - timedelta(days=1)).date()
        async for query, one in reading.query_days(connection, who, tile.start.date(), last, queries):
            found[query].merge(one)
    return [found[query].figures(tracked=clicks) for query in queries if query in found]


async def ranked(
    connection: Connection, selection: Selection, by: RankedBy, limit: int, *, clicks: bool
) -> list[QueryFigures]:
    """Return the queries with most searches, or most of those named by `by`."""
    tiled = tiles(selection.start, selection.end, [Level.DAY])
    queries = await ranking.most(connection, chosen(selection), tiled, by, limit)
    return await of_queries(connection, selection, queries, clicks=clicks)


async def of_user(
    connection: Connection, selection: Selection, user_id: str
) -> tuple[Tally, dict[int, QueryTally]]:
    """Return what a user's searches add up to, and each query's."""
    whole, queries = Tally(), defaultdict[int, QueryTally](QueryTally)
    async for row in reading.rows(
        connection, chosen(selection), selection.start, selection.end, user_id=user_id
    ):
        whole.add(row)
        queries[row.query_hash].add(row)
    return whole, queries


def cut(selection: Selection, interval_hours: int, tz: str) -> list[Interval]:
    """Return the intervals of a selection in a time zone. Raises `ValidationError`."""
    return intervals(selection.start, selection.end, interval_hours, zone_of(tz))
