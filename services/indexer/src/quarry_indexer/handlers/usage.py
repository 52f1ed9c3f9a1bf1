"""What a tenant has and used: asked for by whoever bills or shows it."""

from quarry_common.contracts.usage import IndexDays, StoredNow, TenantRef, UsageRange
from quarry_common.errors import FieldError, ValidationError
from quarry_common.postgres.pool import Database
from quarry_indexer.repository import counts, usage

MAX_DAYS = 400


class UsageReports:
    """Answers what is asked of usage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def days(self, request: UsageRange) -> IndexDays:
        """Return what was taken in and made, by day. Raises `ValidationError` for more than 400 days."""
        length = (request.last - request.first).days + 1
        if not 1 <= length <= MAX_DAYS:
            message = f"must be from 0 to {MAX_DAYS - 1} days after `first`, which is {request.first}"
            raise ValidationError("1 field is wrong.", errors=[FieldError("last", message)])
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            days = await usage.days(connection, request.tenant_id, request.first, request.last)
            before = await usage.last_before(connection, request.tenant_id, request.first)
        return IndexDays(days, before)

    async def stored(self, request: TenantRef) -> StoredNow:
        """Return how many documents a tenant has, and the bytes of their latest versions."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            used = (await counts.find(connection, request.tenant_id)).used
        return StoredNow(used.documents, used.storage_bytes)
