"""Questions about what was searched."""

from datetime import timedelta

from quarry_analytics import asking
from quarry_analytics.domain.ranges import LENGTHS, Level, floor
from quarry_analytics.domain.ranking import RankedBy
from quarry_analytics.domain.trends import Observed, trending
from quarry_analytics.repository import reading
from quarry_common.contracts.analytics import (
    Bucket,
    Queries,
    Ranked,
    Selection,
    StatsReply,
    Timeseries,
    TimeseriesOf,
    Trend,
    TrendingOf,
    Trends,
)
from quarry_common.postgres.pool import Database

WEEK = timedelta(days=7)
BASELINE_WEEKS = 8


class FigureHandlers:
    """Answers for the searches of one tenant, or of all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def popular(self, asked: Ranked) -> Queries:
        """Return the queries that were searched most."""
        return await self._ranked(asked, RankedBy.SEARCHES)

    async def no_results(self, asked: Ranked) -> Queries:
        """Return the queries that most often found nothing."""
        return await self._ranked(asked, RankedBy.NO_RESULTS)

    async def low_confidence(self, asked: Ranked) -> Queries:
        """Return the queries that most often found nothing good."""
        return await self._ranked(asked, RankedBy.LOW_CONFIDENCE)

    async def _ranked(self, asked: Ranked, by: RankedBy) -> Queries:
        selection = asked.selection
        async with asking.transaction(self._database, selection.tenant_id) as connection:
            _, clicks_since = await reading.refreshed(connection, selection.tenant_id)
            clicks = asking.tracked(clicks_since, selection.end)
            return Queries(await asking.ranked(connection, selection, by, asked.limit, clicks=clicks))

    async def stats(self, selection: Selection) -> StatsReply:
        """Return what the searches of a range come to."""
        async with asking.transaction(self._database, selection.tenant_id) as connection:
            refreshed_at, clicks_since = await reading.refreshed(connection, selection.tenant_id)
            tally = await asking.tally(connection, selection)
            dropped = await reading.unrecorded(
                connection, selection.tenant_id, selection.start, selection.end
            )
        return StatsReply(
            figures=tally.figures(tracked=asking.tracked(clicks_since, selection.end)),
            collapsed=tally.collapsed,
            dropped=dropped,
            refreshed_at=refreshed_at,
        )

    async def timeseries(self, asked: TimeseriesOf) -> Timeseries:
        """Return the figures of each interval. Raises `ValidationError`."""
        selection = asked.selection
        intervals = asking.cut(selection, asked.interval_hours, asked.tz)
        async with asking.transaction(self._database, selection.tenant_id) as connection:
            refreshed_at, clicks_since = await reading.refreshed(connection, selection.tenant_id)
            tallies = await asking.tallies(connection, selection, intervals)
        return Timeseries(
            buckets=[
                Bucket(
                    start=interval.start,
                    end=interval.end,
                    partial=interval.start < selection.start or interval.end > selection.end,
                    figures=tally.figures(tracked=asking.tracked(clicks_since, interval.end)),
                )
                for interval, tally in zip(intervals, tallies, strict=True)
            ],
            refreshed_at=refreshed_at,
        )

    async def trending(self, asked: TrendingOf) -> Trends:
        """Return what is searched more than in the same hours of the weeks before."""
        selection, who = asked.selection, asking.chosen(asked.selection)
        end = floor(selection.end, LENGTHS[Level.HOUR])
        start = end - timedelta(hours=asked.window_hours)
        windows = [(start - week * WEEK, end - week * WEEK) for week in range(BASELINE_WEEKS + 1)]
        async with asking.transaction(self._database, selection.tenant_id) as connection:
            counts = [await reading.counts(connection, who, *window) for window in windows]
            clients = await reading.clients(connection, who, start, end)
            totals = [sum(each.values()) for each in counts]
            observed = []
            for query, searches in counts[0].items():
                # Weeks without any search are weeks that nothing is known of.
                before = [
                    each.get(query, 0) for each, total in zip(counts[1:], totals[1:], strict=True) if total
                ]
                observed.append(Observed(query, searches, clients[query], before))
            examined, found = trending(observed, totals)
            found = found[: asked.limit]
            queries = [each.observed.query_hash for each in found]
            spelt = await reading.spelling(connection, who, start, end, queries) if queries else {}
        return Trends(
            window_start=start,
            window_end=end,
            baseline_weeks=sum(total > 0 for total in totals[1:]),
            examined=examined,
            trends=[
                Trend(
                    query=spelt[each.observed.query_hash],
                    observed=each.observed.searches,
                    expected=round(each.expected, 3),
                    ratio=round(each.observed.searches / each.expected, 3)
                    if any(each.observed.before)
                    else None,
                    score=round(each.score, 3),
                    p_value=each.p_value,
                    clients=each.observed.clients,
                )
                for each in found
            ],
        )
