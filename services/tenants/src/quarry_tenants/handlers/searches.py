"""The daily search quota: leased to gateways in blocks, settled, counted."""

from datetime import UTC, datetime
from uuid import uuid5

from quarry_common.contracts.rpc import Nothing
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.contracts.usage import (
    LeaseSearches,
    ReportSearches,
    SearchDays,
    SearchLease,
    SearchTally,
    SettleSearches,
    UsageRange,
)
from quarry_common.errors import NotFoundError
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants.domain import searches as rules
from quarry_tenants.domain.searches import CountedDay
from quarry_tenants.handlers import SERVICE
from quarry_tenants.repository import receipts, tenants
from quarry_tenants.repository import searches as repository

_SETTLED = "settled"


class Searches:
    """Answers on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lease(self, request: LeaseSearches) -> SearchLease:
        """Grant searches of a day. A request that comes again within two hours is answered as the first time.

        Raises `ValidationError`, and `NotFoundError` for a tenant that is not there or is being purged.
        """
        rules.check_lease(request, datetime.now(UTC))
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            if not await tenants.hold(connection, request.tenant_id):
                raise NotFoundError("There is no such tenant.")
            before = await repository.lock(connection, request.tenant_id, request.day)
            known = await receipts.granted(connection, request.tenant_id, request.lease_id)
            if known is not None:
                return SearchLease(known)
            after, granted = rules.leased(before, request)
            await receipts.add(connection, request.tenant_id, request.lease_id, granted)
            await _store(connection, request, after, refused=granted < min(request.wanted, 1))
        return SearchLease(granted)

    async def settle(self, request: SettleSearches) -> Nothing:
        """Take back what was leased in vain. What comes again counts once; what comes of a tenant that is
        being purged is dropped.

        Raises `ValidationError`.
        """
        rules.check_settlement(request, datetime.now(UTC))
        # A lease may be settled under its own id.
        receipt_id = uuid5(request.lease_id, _SETTLED)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            if not await tenants.hold(connection, request.tenant_id):
                return Nothing()
            before = await repository.lock(connection, request.tenant_id, request.day)
            if await receipts.add(connection, request.tenant_id, receipt_id):
                await _store(connection, request, rules.settled(before, request), refused=False)
        return Nothing()

    async def report(self, request: ReportSearches) -> Nothing:
        """Count answered searches of many tenants. A report that comes again within two hours counts once;
        what comes of tenants that are not there or are being purged is dropped.

        Raises `ValidationError`.
        """
        rules.check_report(request, datetime.now(UTC))
        async with self._database.tenant_transaction(PLATFORM_TENANT) as connection:
            if not await receipts.add(connection, PLATFORM_TENANT, request.report_id):
                return Nothing()
            for tally, day in await repository.count(connection, rules.merged(request.tallies)):
                if rules.told(day, tally.limit, refused=False)[1]:
                    await self._database.become(connection, tally.tenant_id)
                    await _store(connection, tally, day, refused=False)
        return Nothing()

    async def days(self, request: UsageRange) -> SearchDays:
        """Return the searches that were answered, by day. Raises `ValidationError`."""
        rules.check_range(request)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            found = await repository.answered(connection, request.tenant_id, request.first, request.last)
        return SearchDays(found)


async def _store(
    connection: Connection,
    request: LeaseSearches | SettleSearches | SearchTally,
    day: CountedDay,
    *,
    refused: bool,
) -> None:
    counted, events = rules.told(day, request.limit, refused=refused)
    await repository.store(connection, request.tenant_id, request.day, counted)
    await publish(
        connection, [Message(event) for event in events], service=SERVICE, tenant_id=request.tenant_id
    )
