"""Forgets what has served its time."""

import asyncio
import logging

import asyncpg

from quarry_common.errors import QuarryError
from quarry_common.postgres import idempotency
from quarry_common.postgres.pool import Database
from quarry_common.waiting import pause

log = logging.getLogger(__name__)

EVERY_SECONDS = 600.0


class Housekeeping:
    """Forgets idempotency keys that are older than a day. Every process may do it: there is little to do."""

    def __init__(self, database: Database, every_seconds: float = EVERY_SECONDS) -> None:
        self._database = database
        self._every_seconds = every_seconds

    async def run(self, stopping: asyncio.Event) -> None:
        """Forget now and then until `stopping` is set."""
        while not stopping.is_set():
            try:
                async with self._database.worker_transaction() as worker:
                    await idempotency.expire(worker)
            except (QuarryError, asyncpg.PostgresError) as error:
                log.warning("old idempotency keys were not forgotten: %s", error)
            await pause(stopping, self._every_seconds)
