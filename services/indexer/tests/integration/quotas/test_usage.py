"""What a tenant used, by day."""

from datetime import UTC, date, datetime, timedelta

import pytest

from quarry_common.contracts.documents import Room
from quarry_common.contracts.usage import IndexDay, StoredNow, TenantRef, UsageRange
from quarry_common.errors import ValidationError
from quarry_common.postgres.pool import Database
from quarry_indexer.handlers.usage import UsageReports
from quarry_indexer.repository import usage

from .tenant import Tenant

LONG_AGO = date(2020, 2, 1)


async def days(tenant: Tenant, first: date | None = None, last: date | None = None) -> list[IndexDay]:
    """Return the days of a range, by default yesterday to tomorrow: a day may end while a test runs."""
    today = datetime.now(UTC).date()
    asked = UsageRange(
        tenant.id, first or today - timedelta(days=1), last or first or today + timedelta(days=1)
    )
    return (await UsageReports(tenant.database).days(asked)).days


async def write(tenant: Tenant, day: date, *, documents: int | None, chunks: int = 0) -> None:
    await tenant.admin.execute(
        """
        INSERT INTO indexer.usage_days (tenant_id, day, documents, storage_bytes, chunks)
        VALUES ($1, $2, $3::int, $3::int * 10, $4)
        """,
        tenant.id,
        day,
        documents,
        chunks,
    )


async def test_a_day_counts_what_was_accepted_and_what_is_there_in_the_end(tenant: Tenant) -> None:
    await tenant.put_many([("a", 100), ("b", 50)])
    await tenant.put("a", 30)
    gone = await tenant.put("c", 5)
    await tenant.delete(gone.document_id)
    body = tenant.body(1)
    await tenant.put("d", blob=body)
    await tenant.put("d", blob=body)

    found = await days(tenant)

    assert sum(day.documents_added for day in found) == 5
    assert sum(day.bytes_added for day in found) == 186
    assert (found[-1].documents, found[-1].storage_bytes) == (3, 81)
    assert (found[-1].chunks, found[-1].tokens) == (0, 0)


async def test_what_was_refused_is_not_counted(tenant: Tenant) -> None:
    await tenant.outcomes([(None, 10), (None, 10)], Room(documents=1))
    await tenant.outcome(10, Room(documents=1))

    assert sum(day.documents_added for day in await days(tenant)) == 1
    assert sum(day.bytes_added for day in await days(tenant)) == 10


async def test_days_are_told_in_order_with_both_ends_and_without_gaps_filled(tenant: Tenant) -> None:
    for offset in (0, 2, 3, 5):
        await write(tenant, LONG_AGO + timedelta(days=offset), documents=offset)

    found = await days(tenant, LONG_AGO, LONG_AGO + timedelta(days=3))

    assert [(day.day.day, day.documents, day.storage_bytes) for day in found] == [
        (1, 0, 0), (3, 2, 20), (4, 3, 30),
    ]  # fmt: skip


async def test_a_day_on_which_no_document_came_or_went_has_what_the_day_before_had(tenant: Tenant) -> None:
    await write(tenant, LONG_AGO, documents=4)
    await write(tenant, LONG_AGO + timedelta(days=9), documents=None, chunks=7)

    (day,) = await days(tenant, LONG_AGO + timedelta(days=9))

    assert (day.chunks, day.documents, day.storage_bytes) == (7, 4, 40)


async def test_what_becomes_searchable_changes_nothing_of_what_is_there(
    tenant: Tenant, database: Database
) -> None:
    await tenant.put(None, 10)

    async with database.tenant_transaction(tenant.id) as connection:
        await usage.activated(connection, tenant.id, [])

    assert (await days(tenant))[-1].documents == 1


@pytest.mark.parametrize(
    ("length", "allowed"), [(1, True), (400, True), (401, False), (0, False), (-5, False)]
)
async def test_a_range_has_up_to_400_days(tenant: Tenant, length: int, allowed: bool) -> None:
    last = LONG_AGO + timedelta(days=length - 1)
    if allowed:
        assert await days(tenant, LONG_AGO, last) == []
        return
    with pytest.raises(ValidationError) as refused:
        await days(tenant, LONG_AGO, last)
    assert refused.value.data.errors[0].field == "last"


async def test_a_tenant_sees_its_own_use_alone(tenant: Tenant) -> None:
    await tenant.put()
    stranger = tenant.another()

    assert await days(stranger) == []
    assert await UsageReports(tenant.database).stored(TenantRef(stranger.id)) == StoredNow(0, 0)
