"""Removing a tenant from the indexer's stores."""

from quarry_common.contracts.purging import Purged, PurgeTenant
from quarry_indexer.indexing.tenant_purge import TenantPurge


class TenantPurging:
    """Answers the request to remove a tenant, which comes again until nothing is left."""

    def __init__(self, purge: TenantPurge) -> None:
        self._purge = purge

    async def purge(self, request: PurgeTenant) -> Purged:
        """Remove some of what a tenant has, and tell what is left."""
        return await self._purge.purge(request.tenant_id, request.seconds)
