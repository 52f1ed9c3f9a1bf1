"""How many requests are under way at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from quarry_webhooks.delivering.metrics import IN_FLIGHT


class Places:
    """Places for requests, given in the order of asking; a tenant has no more than its share."""

    def __init__(self, total: int, per_tenant: int) -> None:
        self._all = asyncio.Semaphore(total)
        self._per_tenant = per_tenant
        self._shares: dict[UUID, _Share] = {}

    @asynccontextmanager
    async def one(self, tenant_id: UUID) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        share = self._shares.get(tenant_id)
        if share is None:
            share = self._shares[tenant_id] = _Share(self._per_tenant)
        share.users += 1
        try:
            async with share.places, self._all:
                with IN_FLIGHT.track_inprogress():
                    yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[tenant_id]


class _Share:
    def __init__(self, most: int) -> None:
        self.places = asyncio.Semaphore(most)
        self.users = 0
