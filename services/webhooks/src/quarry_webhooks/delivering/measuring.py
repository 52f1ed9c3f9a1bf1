"""Tells in metrics how much waits over all tenants."""

import asyncio
import logging

import asyncpg

from quarry_common.errors import QuarryError
from quarry_common.postgres.pool import Database
from quarry_common.waiting import pause
from quarry_webhooks.delivering.metrics import DUE, OLDEST_DUE_SECONDS, OPEN_CIRCUITS
from quarry_webhooks.delivering.ports import Clock
from quarry_webhooks.repository import queues

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0


class Measuring:
    """Measures now and then; every process does."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stopping: asyncio.Event) -> None:
        """Measure until `stopping` is set."""
        while not stopping.is_set():
            try:
                await self.measure()
            except (QuarryError, asyncpg.PostgresError, OSError) as error:
                log.warning("what waits could not be measured: %s", error)
            await pause(stopping, EVERY_SECONDS)

    async def measure(self) -> None:
        """Measure once. Raises `UnavailableError`."""
        now = self._clock()
        async with self._database.worker_transaction() as worker:
            backlog = await queues.backlog(worker, now)
        DUE.set(backlog.due)
        OLDEST_DUE_SECONDS.set((now - backlog.oldest).total_seconds() if backlog.oldest else 0)
        OPEN_CIRCUITS.set(backlog.open_circuits)
