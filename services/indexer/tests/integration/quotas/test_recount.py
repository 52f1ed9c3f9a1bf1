"""What is counted with each change, held against what is there."""

import asyncio
import logging
from datetime import timedelta

import pytest
from asyncpg import InsufficientPrivilegeError
from services.indexer.tests.integration.conftest import until

from quarry_common.contracts.usage import StoredNow
from quarry_common.postgres.pool import Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.indexing import recount
from quarry_indexer.indexing.inspection import Inspection
from quarry_indexer.indexing.metrics import RECOUNT_CORRECTIONS
from quarry_indexer.indexing.recount import Recount
from quarry_indexer.indexing.upkeep import Upkeep

from .tenant import Tenant, waiting

DAY = 86_400.0


async def leads() -> bool:
    return True


async def miscount(tenant: Tenant, *, documents: int = 3, storage_bytes: int = -7) -> None:
    await tenant.admin.execute(
        """
        UPDATE indexer.tenant_counts SET documents = documents + $2, storage_bytes = storage_bytes + $3
        WHERE tenant_id = $1
        """,
        tenant.id,
        documents,
        storage_bytes,
    )


async def age(tenant: Tenant, days: float) -> None:
    """Let the last recount be so long ago."""
    await tenant.admin.execute(
        "UPDATE indexer.tenant_counts SET recounted_at = now() - $2::interval WHERE tenant_id = $1",
        tenant.id,
        timedelta(days=days),
    )


def corrections() -> float:
    return RECOUNT_CORRECTIONS._value.get()


async def test_counts_that_are_not_true_are_corrected_and_told_of(
    tenant: Tenant, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await tenant.put_many([(None, 10)] * 3)
    await miscount(tenant)
    before = corrections()

    with caplog.at_level(logging.WARNING):
        drift = await Recount(database, interval_seconds=DAY).recount(tenant.id)

    assert drift == Usage(-3, 7)
    assert await tenant.stored() == await tenant.there() == StoredNow(3, 30)
    assert corrections() == before + 1
    assert "counts were not true" in caplog.text


async def test_counts_that_are_true_stay(tenant: Tenant, database: Database) -> None:
    deleted = await tenant.put(None, 5)
    await tenant.put(None, 10)
    await tenant.delete(deleted.document_id)
    before = corrections()

    assert await Recount(database, interval_seconds=DAY).recount(tenant.id) == Usage()
    assert corrections() == before


async def test_it_is_done_once_a_day_for_each_tenant(tenant: Tenant, database: Database) -> None:
    recent, due, broken = tenant, tenant.another(), tenant.another()
    for each in (recent, due, broken):
        await each.put(None, 10)
        await miscount(each)
    await age(recent, 0.9)
    await age(due, 1.1)
    await age(broken, 1.2)
    mending = Recount(database, interval_seconds=DAY)

    await mending.run(asyncio.Event(), leads)

    assert [await each.stored() == await each.there() for each in (recent, due, broken)] == [
        False,
        True,
        True,
    ]
    # Nobody is due twice.
    await miscount(due)
    await mending.run(asyncio.Event(), leads)
    assert await due.stored() != await due.there()


async def test_it_goes_through_a_bounded_number_at_a_time_longest_waiting_first(
    tenant: Tenant, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recount, "TENANTS_AT_ONCE", 1)
    long, short = tenant, tenant.another()
    for each, days in ((long, 500), (short, 400)):
        await each.put(None, 10)
        await miscount(each)
        await age(each, days)

    await Recount(database, interval_seconds=DAY).run(asyncio.Event(), leads)

    assert [await each.stored() == await each.there() for each in (long, short)] == [True, False]


async def test_who_no_longer_leads_counts_nothing(tenant: Tenant, database: Database) -> None:
    await tenant.put(None, 10)
    await miscount(tenant)
    await age(tenant, 2)

    async def leads_no_more() -> bool:
        return False

    await Recount(database, interval_seconds=DAY).run(asyncio.Event(), leads_no_more)
    await Recount(database, interval_seconds=0).run(asyncio.Event(), leads)

    assert await tenant.stored() != await tenant.there()


async def test_of_two_that_recount_at_once_one_corrects(tenant: Tenant, database: Database) -> None:
    await tenant.put(None, 10)
    await miscount(tenant)
    mending = Recount(database, interval_seconds=DAY)

    async def both_wait() -> bool:
        return await waiting(tenant.admin) == 2

    async with tenant.admin.acquire() as other, other.transaction():
        await other.execute("SELECT 1 FROM indexer.tenant_counts WHERE tenant_id = $1 FOR UPDATE", tenant.id)
        two = [asyncio.create_task(mending.recount(tenant.id)) for _ in range(2)]
        await until(both_wait, 10)

    assert set(await asyncio.gather(*two)) == {Usage(-3, 7), Usage()}
    assert await tenant.stored() == await tenant.there()


async def test_the_upkeep_does_it(tenant: Tenant, database: Database, index: VectorIndex) -> None:
    await tenant.put(None, 10)
    await miscount(tenant)
    await age(tenant, 2)
    upkeep = Upkeep(
        database,
        tenant.blobs,
        index,
        Inspection(database, index, lambda: None),
        Recount(database, interval_seconds=DAY),
        interval_seconds=0,
        embedding_days=30,
    )

    async def true() -> bool:
        return await tenant.stored() == await tenant.there()

    stopping = asyncio.Event()
    running = asyncio.create_task(upkeep.run(stopping))
    try:
        await until(true, 10)
    finally:
        stopping.set()
        await running


async def test_while_documents_come_and_go_nothing_is_found_untrue(
    tenant: Tenant, database: Database
) -> None:
    mending = Recount(database, interval_seconds=DAY)
    await tenant.put()

    async def come_and_go() -> None:
        await tenant.delete((await tenant.put(None, 7)).document_id)
        await tenant.put_many([(None, 3)] * 3)

    async def count() -> list[Usage]:
        return [await mending.recount(tenant.id) for _ in range(20)]

    _, drifts = await asyncio.gather(asyncio.gather(*(come_and_go() for _ in range(10))), count())

    assert drifts == [Usage()] * 20
    assert await tenant.stored() == await tenant.there() == StoredNow(31, 100)


async def test_across_tenants_the_worker_sees_which_there_are_and_not_what_they_have(
    tenant: Tenant, database: Database
) -> None:
    await tenant.put()

    async with database.worker_transaction() as connection:
        assert await connection.fetchval("SELECT count(tenant_id) FROM tenant_counts") > 0
    with pytest.raises(InsufficientPrivilegeError):
        async with database.worker_transaction() as connection:
            await connection.fetch("SELECT documents FROM tenant_counts")
    with pytest.raises(InsufficientPrivilegeError):
        async with database.worker_transaction() as connection:
            await connection.fetch("SELECT day FROM usage_days")
