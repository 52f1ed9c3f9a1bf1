"""Removing what is older than it is to be kept: partitions as a whole, and rows of tenants that keep less."""

import asyncio
import logging
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import asyncpg

from quarry_analytics.repository import retention, rollups
from quarry_common.errors import QuarryError
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Database
from quarry_common.waiting import pause

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 3_600.0
RETRY_SECONDS: Final = 60.0
LEASE_SECONDS: Final = 120.0
DAY: Final = timedelta(days=1)


class Expiring:
    """Looks every hour for what is too old; one process at a time does."""

    def __init__(self, database: Database, keep_days: int) -> None:
        self._database = database
        self._keep_days = keep_days
        self._leadership = Leadership(database, "expire", seconds=LEASE_SECONDS)

    async def run(self, stopping: asyncio.Event) -> None:
        """Expire until `stopping` is set."""
        while not stopping.is_set():
            seconds = EVERY_SECONDS
            try:
                if await self._leadership.take():
                    await self.expire(datetime.now(UTC).date())
            except (QuarryError, asyncpg.PostgresError, OSError) as error:
                log.warning("old searches: %s; trying again", error)
                seconds = RETRY_SECONDS
            await pause(stopping, seconds)

    async def expire(self, today: date) -> None:
        """Remove what is too old today."""
        async with self._database.worker_transaction() as worker:
            days = sorted(await retention.days(worker))
            shorter = await retention.shorter(worker, self._keep_days)
        before = today - timedelta(days=self._keep_days)
        for day in days:
            if day < before:
                async with self._database.worker_transaction() as worker:
                    await retention.drop_day(worker, day)
        async with self._database.worker_transaction() as worker:
            await rollups.expire(worker, before)
            await retention.remove_unrecorded(worker, datetime.combine(before, time(), UTC))
        for keep_days, tenants in shorter.items():
            own = today - timedelta(days=keep_days)
            for day in days:
                if before <= day < own:
                    start = datetime.combine(day, time(), UTC)
                    async with self._database.worker_transaction() as worker:
                        await retention.remove(worker, tenants, start, start + DAY)
            async with self._database.worker_transaction() as worker:
                await rollups.expire(worker, own, tenants)
