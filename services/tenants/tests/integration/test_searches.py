"""The daily search quota over many gateways."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest

from quarry_common.contracts.events import QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.tenancy import Tenant
from quarry_common.contracts.usage import (
    LEASE_SEARCHES,
    REPORT_SEARCHES,
    SEARCH_DAYS,
    SETTLE_SEARCHES,
    LeaseSearches,
    Quota,
    ReportSearches,
    SearchDay,
    SearchTally,
    SettleSearches,
    UsageRange,
)
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient
from quarry_common.postgres.pool import Database
from quarry_tenants.housekeeping import Housekeeping

from .conftest import Tenancy, told, until, working

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def today() -> date:
    return datetime.now(UTC).date()


class Gateway:
    """One of many that lease and answer."""

    def __init__(self, rpc: RpcClient, tenant: Tenant, limit: int | None) -> None:
        self._rpc = rpc
        self._tenant = tenant
        self._limit = limit

    async def lease(
        self, wanted: int, *, answered: int = 0, lease_id: UUID | None = None, day: date | None = None
    ) -> int:
        asked = LeaseSearches(
            self._tenant.id, day or today(), self._limit, wanted, answered, lease_id or new_id()
        )
        return (await self._rpc.call(LEASE_SEARCHES, asked)).granted

    async def settle(
        self, unused: int, answered: int, lease_id: UUID | None = None, day: date | None = None
    ) -> None:
        asked = SettleSearches(
            self._tenant.id, day or today(), self._limit, unused, answered, lease_id or new_id()
        )
        await self._rpc.call(SETTLE_SEARCHES, asked)

    async def answered(self) -> list[SearchDay]:
        first, last = today() - timedelta(days=9), today()
        return (await self._rpc.call(SEARCH_DAYS, UsageRange(self._tenant.id, first, last))).days


async def test_many_gateways_together_are_granted_the_limit_exactly(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    async def lease_all(gateway: Gateway) -> int:
        total = 0
        while granted := await gateway.lease(40):
            total += granted
        return total

    granted = await asyncio.gather(*(lease_all(Gateway(rpc, tenant, 500)) for _ in range(8)))

    assert sum(granted) == 500


async def test_the_same_lease_is_granted_once_however_often_it_is_asked_for(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    tenant = await tenancy.tenant()
    gateway, lease_id = Gateway(rpc, tenant, 1_600), new_id()

    granted = await asyncio.gather(*(gateway.lease(100, answered=1, lease_id=lease_id) for _ in range(8)))

    assert granted == [99] * 8
    row = await admin.fetchrow("SELECT leased, answered FROM search_days WHERE tenant_id = $1", tenant.id)
    assert row is not None
    assert tuple(row) == (100, 1)


async def test_what_is_given_back_is_granted_to_others(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    one, other = Gateway(rpc, tenant, 16), Gateway(rpc, tenant, 16)
    lease_id = new_id()
    while await one.lease(10, lease_id=lease_id):
        lease_id = new_id()
    assert await other.lease(10) == 0

    for _ in range(3):
        # The lease's own id will do, and a repetition counts once.
        await one.settle(unused=2, answered=14, lease_id=lease_id)

    assert [await other.lease(10) for _ in range(3)] == [1, 1, 0]
    assert await one.answered() == [SearchDay(today(), 14)]


async def test_without_a_limit_all_is_granted_and_counted(rpc: RpcClient, tenancy: Tenancy) -> None:
    gateway = Gateway(rpc, await tenancy.tenant(), None)

    assert await gateway.lease(5_000) == 5_000
    await gateway.settle(unused=1_000, answered=4_000)

    assert await gateway.answered() == [SearchDay(today(), 4_000)]


async def test_an_old_day_is_settled_and_not_leased(rpc: RpcClient, tenancy: Tenancy) -> None:
    gateway = Gateway(rpc, await tenancy.tenant(), 100)
    long_over, coming = today() - timedelta(days=3), today() + timedelta(days=2)

    await gateway.settle(unused=0, answered=7, day=long_over)

    assert await gateway.answered() == [SearchDay(long_over, 7)]
    with pytest.raises(RemoteError, match="not valid"):
        await gateway.lease(1, day=long_over)
    for refused in (gateway.lease(1, day=coming), gateway.settle(0, 1, day=coming)):
        with pytest.raises(RemoteError) as caught:
            await refused
        assert [error.field for error in caught.value.data.errors] == ["day"]


async def test_threshold_and_end_are_told_once_a_day(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    tenant = await tenancy.tenant()
    gateway = Gateway(rpc, tenant, 20)
    kinds = (QuotaThresholdReached, QuotaExceeded)
    for answered in [0] + [1] * 15:
        assert await gateway.lease(1, answered=answered) == 1
    assert await told(admin, tenant.id, *kinds) == []

    for _ in range(6):
        await gateway.lease(1, answered=1)

    assert await told(admin, tenant.id, *kinds) == [
        QuotaThresholdReached(quota=Quota.SEARCHES, limit=20, used=16, percent=80),
        QuotaExceeded(quota=Quota.SEARCHES, limit=20, used=20),
    ]


async def report(rpc: RpcClient, *tallies: SearchTally, report_id: UUID | None = None) -> None:
    await rpc.call(REPORT_SEARCHES, ReportSearches(report_id or new_id(), list(tallies)))


async def test_many_tenants_are_counted_by_one_report_and_once(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenants = [await tenancy.tenant() for _ in range(5)]
    yesterday, report_id = today() - timedelta(days=1), new_id()
    tallies = [SearchTally(tenant.id, today(), None, place) for place, tenant in enumerate(tenants, 1)]
    tallies += [SearchTally(tenants[0].id, yesterday, None, 7), SearchTally(tenants[0].id, today(), None, 2)]

    await asyncio.gather(*(report(rpc, *tallies, report_id=report_id) for _ in range(4)))
    await report(rpc, SearchTally(tenants[4].id, today(), None, 1))

    found = [await Gateway(rpc, tenant, None).answered() for tenant in tenants]
    assert found == [
        [SearchDay(yesterday, 7), SearchDay(today(), 3)],
        *([SearchDay(today(), place)] for place in (2, 3, 4, 6)),
    ]


async def test_what_is_reported_of_a_quota_takes_nothing_more_of_it(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    tenant = await tenancy.tenant()
    gateway = Gateway(rpc, tenant, 160)
    assert await gateway.lease(10) == 10

    for _ in range(2):
        await report(rpc, SearchTally(tenant.id, today(), 160, 4))
    await gateway.settle(unused=2, answered=0)

    row = await admin.fetchrow("SELECT leased, answered FROM search_days WHERE tenant_id = $1", tenant.id)
    assert row is not None
    assert tuple(row) == (8, 8)


async def test_reports_of_many_gateways_at_once_lose_nothing(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenants = [await tenancy.tenant() for _ in range(6)]

    async def gateway(number: int) -> None:
        order = tenants[number % 6 :] + tenants[: number % 6]
        for _ in range(5):
            await report(rpc, *(SearchTally(tenant.id, today(), None, 1) for tenant in order))

    await asyncio.gather(*(gateway(number) for number in range(6)))

    for tenant in tenants:
        assert await Gateway(rpc, tenant, None).answered() == [SearchDay(today(), 30)]


async def test_the_threshold_is_told_of_those_in_a_report_that_reached_it(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    near, far, free = [await tenancy.tenant() for _ in range(3)]
    tallies = [
        SearchTally(near.id, today(), 10, 8),
        SearchTally(far.id, today(), 10, 7),
        SearchTally(free.id, today(), None, 900),
    ]

    await report(rpc, *tallies)
    await report(rpc, SearchTally(near.id, today(), 10, 1))

    assert await told(admin, near.id, QuotaThresholdReached, QuotaExceeded) == [
        QuotaThresholdReached(quota=Quota.SEARCHES, limit=10, used=8, percent=80)
    ]
    for other in (far, free):
        assert await told(admin, other.id, QuotaThresholdReached, QuotaExceeded) == []
    assert await Gateway(rpc, near, 10).answered() == [SearchDay(today(), 9)]


async def test_of_a_report_what_is_told_of_tenants_that_go_or_are_not_there_is_dropped(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    going, there, nobody = await tenancy.tenant(), await tenancy.tenant(), new_id()
    await admin.execute("UPDATE organizations SET state = 'purging' WHERE id = $1", going.id)

    await report(rpc, *(SearchTally(tenant, today(), None, 1) for tenant in (nobody, going.id, there.id)))

    rows = await admin.fetch(
        "SELECT tenant_id FROM search_days WHERE tenant_id = ANY ($1)", [nobody, going.id, there.id]
    )
    assert [row["tenant_id"] for row in rows] == [there.id]


async def test_nothing_is_leased_to_a_tenant_that_is_not_there_or_goes(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    going = await tenancy.tenant()
    await admin.execute("UPDATE organizations SET state = 'purging' WHERE id = $1", going.id)
    gateway = Gateway(rpc, going, 100)

    with pytest.raises(RemoteError) as caught:
        await gateway.lease(1)
    await gateway.settle(unused=1, answered=1)

    assert caught.value.data.status == 404
    assert await admin.fetchval("SELECT count(*) FROM search_days WHERE tenant_id = $1", going.id) == 0
    with pytest.raises(RemoteError, match="no such tenant"):
        await rpc.call(LEASE_SEARCHES, LeaseSearches(new_id(), today(), 1, 1, 0, new_id()))


async def test_leases_that_were_lost_are_dropped_when_their_day_is_over(
    tenancy: Tenancy, admin: Connection, database: Database
) -> None:
    tenant = await tenancy.tenant()
    over = today() - timedelta(days=2)
    for day in (over, today()):
        await admin.execute(
            "INSERT INTO search_days (tenant_id, day, leased, answered) VALUES ($1, $2, 10, 4)",
            tenant.id,
            day,
        )

    async def leased() -> list[tuple[int, int]]:
        rows = await admin.fetch(
            "SELECT leased, answered FROM search_days WHERE tenant_id = $1 ORDER BY day", tenant.id
        )
        return [tuple(row) for row in rows]

    async with working(Housekeeping(database, every_seconds=0.01)):
        await until(leased, [(4, 4), (10, 4)])


async def test_what_is_old_goes_in_batches(
    tenancy: Tenancy, admin: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for batch in ("receipts.EXPIRED_AT_A_TIME", "searches.DROPPED_AT_A_TIME"):
        monkeypatch.setattr(f"quarry_tenants.repository.{batch}", 2)
    tenant = await tenancy.tenant()
    await admin.execute(
        """
        INSERT INTO receipts (tenant_id, id, granted, at)
        SELECT $1, gen_random_uuid(), 0, now() - interval '3 hours' FROM generate_series(1, 5)
        """,
        tenant.id,
    )
    await admin.execute(
        """
        INSERT INTO search_days (tenant_id, day, leased)
        SELECT $1, current_date - n, 9 FROM generate_series(2, 6) n
        """,
        tenant.id,
    )

    async def left() -> int:
        query = """
            SELECT (SELECT count(*) FROM receipts WHERE tenant_id = $1)
                + (SELECT count(*) FROM search_days WHERE tenant_id = $1 AND leased > 0)
        """
        found: int = await admin.fetchval(query, tenant.id)
        return found

    # One turn is enough: the next would come after the test's end.
    async with working(Housekeeping(database, every_seconds=600)):
        await until(left, 0)


async def test_receipts_are_kept_for_two_hours(
    tenancy: Tenancy, admin: Connection, database: Database
) -> None:
    tenant = await tenancy.tenant()
    for minutes in (119, 121):
        await admin.execute(
            """
            INSERT INTO receipts (tenant_id, id, granted, at)
            VALUES ($1, gen_random_uuid(), $2::integer, now() - make_interval(mins => $2::integer))
            """,
            tenant.id,
            minutes,
        )

    async def kept() -> list[int]:
        rows = await admin.fetch("SELECT granted FROM receipts WHERE tenant_id = $1", tenant.id)
        return [row["granted"] for row in rows]

    async with working(Housekeeping(database, every_seconds=0.01)):
        await until(kept, [119])
