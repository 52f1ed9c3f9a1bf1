"""Keeping rollups: days of which something new is recorded are computed anew, as a whole."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Final
from uuid import UUID

import asyncpg
from prometheus_client import Counter, Gauge, Histogram

from quarry_analytics.domain.collapsing import WINDOW, Typed, collapsed
from quarry_analytics.domain.ranges import LENGTHS, QUARTER, floor
from quarry_analytics.domain.ranking import Counted, Ranks
from quarry_analytics.domain.tallies import QueryTally, Tally
from quarry_analytics.domain.texts import normal
from quarry_analytics.repository import reading, rollups
from quarry_analytics.repository.rollups import DirtyDay, QueryKey, SpanKey
from quarry_common.errors import QuarryError
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Connection, Database
from quarry_common.waiting import pause

log = logging.getLogger(__name__)

TOGETHER: Final = 100
LEASE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0
YIELD_EVERY: Final = 500
"""Rows after which others get the loop."""
DAY: Final = timedelta(days=1)

REFRESHED = Counter("analytics_days_refreshed_total", "Days of tenants whose rollups were computed.")
REFRESH_SECONDS = Histogram("analytics_refresh_seconds", "Time to compute a tenant's day.")
DIRTY = Gauge("analytics_days_dirty", "Days of tenants whose rollups wait to be computed, as last looked.")


class Refreshing:
    """Computes dirty days every so many seconds; one process at a time does."""

    def __init__(self, database: Database, every_seconds: float) -> None:
        self._database = database
        self._every_seconds = every_seconds
        self._leadership = Leadership(database, "refresh", seconds=LEASE_SECONDS)

    async def run(self, stopping: asyncio.Event) -> None:
        """Refresh until `stopping` is set."""
        while not stopping.is_set():
            seconds = self._every_seconds
            try:
                if await self._leadership.take():
                    await self.refresh(stopping)
            except (QuarryError, asyncpg.PostgresError, OSError) as error:
                log.warning("rollups: %s; trying again", error)
                seconds = min(RETRY_SECONDS, seconds)
            await pause(stopping, seconds)
        try:
            await self._leadership.give_back()
        except (QuarryError, asyncpg.PostgresError, OSError) as error:
            log.info("rollups: the lease ends by itself: %s", error)

    async def refresh(self, stopping: asyncio.Event | None = None) -> int:
        """Compute the days that are dirty now; return how many."""
        done, seen = 0, set[tuple[UUID, str]]()
        while True:
            async with self._database.worker_transaction() as worker:
                found = await rollups.dirty(worker, TOGETHER + len(seen))
            # What becomes dirty again while this goes on is for the next time.
            found = [each for each in found if (each.tenant_id, str(each.day)) not in seen][:TOGETHER]
            DIRTY.set(len(found))
            if not found:
                return done
            for each in found:
                if stopping is not None and (stopping.is_set() or not await self._leadership.take()):
                    return done
                seen.add((each.tenant_id, str(each.day)))
                await self._day(each)
                done += 1

    async def _day(self, found: DirtyDay) -> None:
        started = time.monotonic()
        async with self._locked(found) as (connection, marks):
            if marks is not None:
                await compute(connection, DirtyDay(found.tenant_id, found.day, marks), datetime.now(UTC))
        REFRESHED.inc()
        REFRESH_SECONDS.observe(time.monotonic() - started)

    @asynccontextmanager
    async def _locked(self, found: DirtyDay) -> AsyncIterator[tuple[Connection, int | None]]:
        async with self._database.tenant_transaction(found.tenant_id) as connection:
            yield connection, await rollups.lock(connection, found)


async def compute(connection: Connection, found: DirtyDay, now: datetime) -> None:
    """Compute all rollups of a tenant's day in its transaction; they hold what is recorded as of `now`."""
    start = datetime.combine(found.day, clock(), UTC)
    await _collapse(connection, found.tenant_id, start)
    quarters: dict[tuple[datetime, str, str], Tally] = defaultdict(Tally)
    queries: dict[QueryKey, QueryTally] = defaultdict(QueryTally)
    clicked = False
    chosen = reading.Chosen(found.tenant_id)
    number = 0
    async for row in reading.rows(connection, chosen, start, start + DAY):
        quarters[floor(row.occurred_at, QUARTER), row.mode, row.collection].add(row)
        queries[row.query_hash, row.mode, row.collection].add(row)
        clicked = clicked or row.clicks > 0
        number += 1
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    for quarter, mode, collection, count in await rollups.collapsed_by_quarter(
        connection, found.tenant_id, start
    ):
        quarters[quarter, mode, collection].collapsed += count
    await rollups.add_spans(connection, found.tenant_id, start, _spans(quarters), _ranks(queries))
    await rollups.add_queries(connection, found.tenant_id, found.day, queries)
    await rollups.clean(connection, found, now, found.day if clicked else None)


def _spans(quarters: dict[tuple[datetime, str, str], Tally]) -> dict[SpanKey, Tally]:
    spans: dict[SpanKey, Tally] = defaultdict(Tally)
    for (quarter, mode, collection), tally in quarters.items():
        for level, length in LENGTHS.items():
            spans[level, floor(quarter, length), mode, collection].merge(tally)
    return spans


def _ranks(queries: Mapping[QueryKey, QueryTally]) -> dict[tuple[str, str], Ranks]:
    found: dict[tuple[str, str], list[tuple[int, Counted]]] = defaultdict(list)
    for (query_hash, mode, collection), each in queries.items():
        found[mode, collection].append((query_hash, each.counted()))
    return {key: Ranks(counted) for key, counted in found.items()}


async def _collapse(connection: Connection, tenant_id: UUID, start: datetime) -> None:
    """Note which searches of the day are collapsed; the last ones' successors may be of the next."""
    typed: list[Typed] = []
    times: dict[UUID, datetime] = {}
    noted: set[UUID] = set()
    async for row in rollups.typed(connection, tenant_id, start, start + DAY + WINDOW):
        typed.append(Typed(row["query_id"], row["occurred_at"], row["client"], normal(row["query"])))
        if row["occurred_at"] < start + DAY:
            times[row["query_id"]] = row["occurred_at"]
            if row["collapsed"]:
                noted.add(row["query_id"])
    found = collapsed(typed) & times.keys()
    for searches, truth in ((found - noted, True), (noted - found, False)):
        if searches:
            changed = {query_id: times[query_id] for query_id in searches}
            await rollups.set_collapsed(connection, tenant_id, changed, collapsed=truth)
