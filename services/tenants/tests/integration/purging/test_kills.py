"""A purge may be killed at any moment, and goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import pytest
from services.tenants.tests.integration.conftest import until, working
from services.tenants.tests.integration.purging.conftest import (
    DOCUMENTS,
    PIECE,
    Installation,
    purged,
)

from quarry_common.contracts.purging import (
    Purged,
)
from quarry_common.contracts.tenancy import (
    Tenant,
)
from quarry_common.postgres.pool import Connection as Borrowed
from quarry_common.postgres.pool import Database
from quarry_tenants.purging import Purging
from quarry_tenants.stores import Store, Stores


async def test_a_purge_killed_between_any_two_steps_goes_on_and_the_sums_are_right(
    installation: Installation,
) -> None:
    tenant, other = await installation.tenant("killed"), await installation.tenant("kill-other")
    before = await installation.rows(other)
    await installation.due(tenant)
    expected = await installation.expected(tenant)
    pieces = [Death("after", "documents", 1)] * (DOCUMENTS // PIECE + 1)
    one_pass = [Death(when, store.name, 1) for store in installation.stores for when in ("before", "after")]
    first_pass = [*one_pass[:3], *pieces, *one_pass[4:]]
    between_passes = [Death("before", "rows", 2)]

    for death in [*first_pass, *between_passes, *one_pass]:
        stores = [_mortal(store, death) for store in installation.stores]
        task = asyncio.create_task(installation.purging(stores=stores).run(asyncio.Event()))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, timeout=10)
    async with working(installation.purging()):
        await purged(installation, tenant)

    receipt = await installation.receipt(tenant)
    assert receipt.removed == expected
    assert receipt.verified
    assert await installation.rows(other) == before


class Death(msgspec.Struct, frozen=True):
    """When a process is killed: before or after it has emptied a store for the n-th time."""

    when: str
    store: str
    time: int


def _mortal(store: Store, death: Death) -> Store:
    times = 0

    async def remove(tenant_id: UUID) -> Purged:
        nonlocal times
        times += 1
        last = store.name == death.store and times == death.time
        if last and death.when == "before":
            raise asyncio.CancelledError
        done = await store.remove(tenant_id)
        if last:
            raise asyncio.CancelledError
        return done

    return msgspec.structs.replace(store, remove=remove)


async def _live(installation: Installation, tenant: Tenant, purging: Purging) -> None:
    """Run until the tenant is purged, or the process is killed."""
    stopping = asyncio.Event()
    task = asyncio.create_task(purging.run(stopping))
    async with asyncio.timeout(20):
        while not task.done():
            if await installation.state(tenant) == "purged":
                stopping.set()
            await asyncio.wait([task], timeout=0.01)
    assert task.cancelled() or task.result() is None


class MortalDatabase(Database):
    """Connections of a process that is killed before its n-th transaction."""

    def __init__(self, database: Database, transactions: int) -> None:
        super().__init__(database._pool, database.service)
        self._left = transactions

    def _live(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise asyncio.CancelledError

    @asynccontextmanager
    async def tenant_transaction(self, tenant_id: UUID) -> AsyncIterator[Borrowed]:
        self._live()
        async with super().tenant_transaction(tenant_id) as connection:
            yield connection

    @asynccontextmanager
    async def worker_transaction(self) -> AsyncIterator[Borrowed]:
        self._live()
        async with super().worker_transaction() as connection:
            yield connection


async def test_a_purge_killed_between_any_two_transactions_counts_its_own_rows_exactly(
    installation: Installation,
) -> None:
    tenant = await installation.tenant("killed-often")
    await installation.due(tenant)
    expected = await installation.expected(tenant)

    lives = 0
    while await installation.state(tenant) != "purged":
        lives += 1
        database = MortalDatabase(installation.database, lives)
        stores = Stores(database, installation.bus, gather_seconds=0.01).all()
        purging = Purging(database, stores, look_seconds=0.02, pause_seconds=0.02)
        await _live(installation, tenant, purging)
        # As if the lease of the one that was killed had run out.
        await installation.admin.execute("DELETE FROM leaders")

    assert lives > 20
    removed = (await installation.receipt(tenant)).removed
    # Those of other services, whose count may be lost between their answer and the note.
    shared = {"postgres.indexer.outbox", "postgres.analytics.searches", "postgres.webhooks.deliveries"}
    for name, count in expected.items():
        if name.startswith("postgres.") and name not in shared:
            assert removed[name] == count, name
        else:
            assert removed.get(name, 0) <= count, name
    assert (await installation.receipt(tenant)).verified
    assert not any((await installation.rows(tenant)).values())


@pytest.fixture
def everybody_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for a while when a leader stands still and wakes."""

    async def leads(_: object) -> bool:
        return True

    monkeypatch.setattr("quarry_common.postgres.leadership.Leadership.take", leads)


@pytest.mark.usefixtures("everybody_leads")
async def test_two_that_work_at_once_count_nothing_twice(installation: Installation) -> None:
    tenant = await installation.tenant("twice")
    await installation.due(tenant)
    expected = await installation.expected(tenant)

    async with working(installation.purging()), working(installation.purging()):
        await purged(installation, tenant)

    assert (await installation.receipt(tenant)).removed == expected


@pytest.mark.usefixtures("everybody_leads")
async def test_two_that_make_the_same_pass_make_one(installation: Installation) -> None:
    tenant = await installation.tenant("same-pass")
    await installation.due(tenant)
    both = asyncio.Barrier(2)

    async def together(_: UUID) -> Purged:
        await both.wait()
        return Purged({}, {})

    async def passes() -> int | None:
        query = "SELECT clean_passes FROM purges WHERE tenant_id = $1"
        found: int | None = await installation.admin.fetchval(query, tenant.id)
        return found

    stores = [Store("shared", "nobody", together)]
    parts = [Purging(installation.database, stores, look_seconds=0.02, pause_seconds=600) for _ in range(2)]
    async with working(parts[0]), working(parts[1]):
        await until(passes, 1)

    assert await passes() == 1
    assert await installation.state(tenant) == "purging"
