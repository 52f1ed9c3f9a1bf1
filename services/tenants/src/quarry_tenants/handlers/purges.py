"""The receipts of purges."""

from quarry_common.contracts.purging import PurgeReceipt, ReceiptOf
from quarry_common.errors import NotFoundError
from quarry_common.postgres.pool import Database
from quarry_tenants.domain.purges import receipt_of
from quarry_tenants.repository import purges


class Purges:
    """Answers on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def receipt(self, request: ReceiptOf) -> PurgeReceipt:
        """Return what a tenant's purge removed, so far or in all. Raises `NotFoundError` before it begins."""
        purge = None
        # Postgres cannot be asked for a text with NUL in it.
        if "\0" not in request.slug:
            async with self._database.worker_transaction() as worker:
                purge = await purges.of_slug(worker, request.slug)
        if purge is None:
            raise NotFoundError("No tenant of that slug is being purged, or was.")
        return receipt_of(purge)
