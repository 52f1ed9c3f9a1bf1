"""What each tenant has, counted anew now and then and held against its counts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg

from quarry_common.errors import QuarryError
from quarry_common.postgres.pool import Database
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.indexing import counting
from quarry_indexer.indexing.metrics import RECOUNT_CORRECTIONS
from quarry_indexer.repository import counts

log = logging.getLogger(__name__)

TENANTS_AT_ONCE = 100


class Recount:
    """Counts each tenant's documents once per `interval_seconds`, never when it is 0."""

    def __init__(self, database: Database, *, interval_seconds: float) -> None:
        self._database = database
        self._interval_seconds = interval_seconds

    async def run(self, stopping: asyncio.Event, leads: Callable[[], Awaitable[bool]]) -> None:
        """Count some tenants for which it is time, as long as this process `leads`."""
        if not self._interval_seconds:
            return
        async with self._database.worker_transaction() as connection:
            tenants = await counts.due(connection, self._interval_seconds, TENANTS_AT_ONCE)
        for tenant_id in tenants:
            if stopping.is_set() or not await leads():
                return
            try:
                await self.recount(tenant_id)
            except (QuarryError, asyncpg.PostgresError) as error:
                # The others must not wait for one that is too large for a moment of much work.
                log.warning("a tenant was not recounted: %s", error, extra={"tenant": str(tenant_id)})

    async def recount(self, tenant_id: UUID) -> Usage:
        """Correct a tenant's counts; return by how much. Raises `UnavailableError`."""
        async with self._database.tenant_transaction(tenant_id) as connection:
            drift = await counts.drift(connection, tenant_id)
            if drift != Usage():
                # Held, so that of two who recount at once one corrects; only so long does the tenant wait.
                await counts.hold(connection, tenant_id)
                drift = await counts.drift(connection, tenant_id)
                await counting.change(connection, tenant_id, drift)
            await counts.recounted(connection, tenant_id)
        if drift != Usage():
            RECOUNT_CORRECTIONS.inc()
            log.warning(
                "a tenant's counts were not true, and were corrected",
                extra={
                    "tenant": str(tenant_id),
                    "documents": drift.documents,
                    "storage_bytes": drift.storage_bytes,
                },
            )
        return drift
