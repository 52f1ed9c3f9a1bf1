"""Removing a tenant from the tables of webhooks."""

import asyncio
from collections import Counter
from uuid import UUID

from quarry_common.contracts.purging import Purged, PurgeTenant
from quarry_common.postgres.pool import Database
from quarry_webhooks.repository import purges as repository

MAX_SECONDS = 20.0
PAUSE_SECONDS = 0.25
"""Between two rounds: deliveries that are under way end, the relay publishes."""
ROWS_AT_ONCE = 5_000
COUNTED = 10_000
"""What is left is counted up to here."""


class Purges:
    """Answers the request to remove a tenant, which comes again until nothing is left."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def purge(self, request: PurgeTenant) -> Purged:
        """Remove what a tenant has, piece by piece, and tell what is left."""
        now = asyncio.get_running_loop().time
        until = now() + min(request.seconds, MAX_SECONDS)
        removed: Counter[str] = Counter()
        while True:
            await self._round(request.tenant_id, until, removed)
            async with self._database.tenant_transaction(request.tenant_id) as connection:
                counted = await repository.left(connection, request.tenant_id, COUNTED)
            left = {f"postgres.webhooks.{table}": count for table, count in counted.items()}
            if not any(left.values()) or now() + PAUSE_SECONDS >= until:
                return Purged(dict(removed), left)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _round(self, tenant_id: UUID, until: float, removed: Counter[str]) -> None:
        now = asyncio.get_running_loop().time
        async with self._database.tenant_transaction(tenant_id) as connection:
            await repository.stop(connection, tenant_id)
        for table in repository.TABLES:
            gone = ROWS_AT_ONCE
            while gone == ROWS_AT_ONCE:
                async with self._database.tenant_transaction(tenant_id) as connection:
                    gone = await repository.remove(connection, table, tenant_id, ROWS_AT_ONCE)
                if gone:
                    removed[f"postgres.webhooks.{table}"] += gone
                if now() >= until:
                    return
