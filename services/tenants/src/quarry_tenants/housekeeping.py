"""Forgets what has served its time, and mends what only time can tell."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg

from quarry_common.errors import QuarryError
from quarry_common.postgres import idempotency
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Connection, Database
from quarry_common.waiting import pause
from quarry_tenants.domain.searches import first_in_use
from quarry_tenants.repository import receipts, searches

log = logging.getLogger(__name__)

EVERY_SECONDS = 600.0
LEASE_SECONDS = 60.0
MOST_BATCHES = 100


class Housekeeping:
    """Forgets idempotency keys that are older than a day and receipts that are older than two hours, and
    drops leases of searches that were lost with their gateways. One process at a time."""

    def __init__(self, database: Database, every_seconds: float = EVERY_SECONDS) -> None:
        self._database = database
        self._every_seconds = every_seconds
        self._leadership = Leadership(database, "housekeeping", seconds=LEASE_SECONDS)

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep house now and then until `stopping` is set."""
        while not stopping.is_set():
            try:
                if await self._leadership.take():
                    await self._keep_house()
                    await self._leadership.give_back()
            except (QuarryError, asyncpg.PostgresError) as error:
                log.warning("the house was not kept: %s", error)
            await pause(stopping, self._every_seconds)

    async def _keep_house(self) -> None:
        # The worker role, because what is old is old for every tenant.
        async with self._database.worker_transaction() as worker:
            await idempotency.expire(worker)
        await self._in_batches(receipts.expire, receipts.EXPIRED_AT_A_TIME)
        in_use = first_in_use(datetime.now(UTC))
        await self._in_batches(
            lambda worker: searches.drop_lost_leases(worker, in_use), searches.DROPPED_AT_A_TIME
        )

    async def _in_batches(self, work: Callable[[Connection], Awaitable[int]], size: int) -> None:
        """Repeat what does `size` at a time until there is no more; too much is left to the next time."""
        for _ in range(MOST_BATCHES):
            async with self._database.worker_transaction() as worker:
                if await work(worker) < size:
                    return
