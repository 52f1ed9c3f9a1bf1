"""Removing what was recorded of a tenant, and what was made of it."""

import asyncio
from collections import defaultdict

from quarry_analytics.repository import purges
from quarry_common.contracts.purging import Purged, PurgeTenant
from quarry_common.postgres.pool import Database

BATCH = 2_000


class PurgeHandler:
    """Empties the tables of a tenant, as far as the time allows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def purge(self, asked: PurgeTenant) -> Purged:
        """Remove for so many seconds at most; return what was removed and what is left."""
        now = asyncio.get_running_loop().time
        until, removed, left = now() + asked.seconds, defaultdict[str, int](int), dict[str, int]()
        for table in purges.TABLES:
            gone = BATCH
            while gone == BATCH and now() < until:
                async with self._database.tenant_transaction(asked.tenant_id) as connection:
                    gone = await purges.remove(connection, asked.tenant_id, table, BATCH)
                removed[f"postgres.analytics.{table}"] += gone
        async with self._database.tenant_transaction(asked.tenant_id) as connection:
            for table in purges.TABLES:
                left[f"postgres.analytics.{table}"] = await purges.left(connection, asked.tenant_id, table)
        return Purged(dict(removed), left)
