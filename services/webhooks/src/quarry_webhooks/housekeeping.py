"""Forgets what has served its time, and gives up what was held for too long."""

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
from quarry_webhooks.delivering.ports import Clock, Rules
from quarry_webhooks.repository import expiry

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
LEASE_SECONDS = 60.0
MOST_BATCHES = 200


class Housekeeping:
    """Keeps house for all tenants. One process at a time."""

    def __init__(
        self, database: Database, rules: Rules, clock: Clock, every_seconds: float = EVERY_SECONDS
    ) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock
        self._every_seconds = every_seconds
        self._leadership = Leadership(database, "housekeeping", seconds=LEASE_SECONDS)

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep house now and then until `stopping` is set."""
        while not stopping.is_set():
            try:
                if await self._leadership.take():
                    await self.keep_house(stopping)
                    await self._leadership.give_back()
            except (QuarryError, asyncpg.PostgresError, OSError) as error:
                log.warning("the house was not kept: %s", error)
            await pause(stopping, self._every_seconds)

    async def keep_house(self, stopping: asyncio.Event) -> None:
        """Do all there is to do, in small batches. Raises `UnavailableError`."""
        now, rules = self._clock(), self._rules
        for work in (
            lambda worker: expiry.hold_stragglers(worker, now),
            lambda worker: expiry.expire_held(worker, now - rules.keep_held),
            lambda worker: expiry.forget_deliveries(worker, now - rules.keep),
            lambda worker: expiry.forget_hours(worker, now - rules.keep_hours),
        ):
            await self._in_batches(work, stopping)
        await self._forget_messages(now - rules.keep, stopping)
        async with self._database.worker_transaction() as worker:
            await idempotency.expire(worker)

    async def _in_batches(
        self, work: Callable[[Connection], Awaitable[int]], stopping: asyncio.Event
    ) -> None:
        """Repeat until there is no more; too much is left to the next time."""
        for _ in range(MOST_BATCHES):
            if stopping.is_set() or not await self._leadership.take():
                return
            async with self._database.worker_transaction() as worker:
                if await work(worker) < expiry.AT_A_TIME:
                    return

    async def _forget_messages(self, before: datetime, stopping: asyncio.Event) -> None:
        reached = datetime(1970, 1, 1, tzinfo=UTC)
        for _ in range(MOST_BATCHES):
            if stopping.is_set() or not await self._leadership.take():
                return
            async with self._database.worker_transaction() as worker:
                looked_at, last = await expiry.forget_messages(worker, before, reached)
            if looked_at < expiry.AT_A_TIME or last is None or last == reached:
                return
            reached = last
