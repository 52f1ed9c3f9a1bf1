"""Quotas of documents and bytes: the limit is reached, and never exceeded, however many ask at once."""

import asyncio
from collections import Counter

import pytest
from services.indexer.tests.integration.conftest import until

from quarry_common.contracts.documents import Room
from quarry_common.contracts.usage import StoredNow
from quarry_common.errors import QuotaExceededError
from quarry_indexer.domain.quotas import Usage
from quarry_indexer.repository import counts, jobs

from .tenant import Tenant, detail, waiting


async def somebody_waits(tenant: Tenant) -> None:
    """Return when a transaction waits for another one."""

    async def waits() -> bool:
        return await waiting(tenant.admin) > 0

    await until(waits, 10)


async def test_of_a_hundred_at_once_as_many_documents_are_accepted_as_fit(tenant: Tenant) -> None:
    room = Room(documents=30)
    await tenant.put_many([(None, 1)] * 20)

    found = Counter(await asyncio.gather(*(tenant.outcome(1, room) for _ in range(100))))

    assert found == {"accepted": 10, "quota_exceeded": 90}
    assert await tenant.stored() == await tenant.there() == StoredNow(30, 30)


async def test_of_a_hundred_at_once_as_many_bytes_are_accepted_as_fit(tenant: Tenant) -> None:
    room = Room(storage_bytes=1000)
    await tenant.put_many([(None, 45)] * 20)

    found = Counter(await asyncio.gather(*(tenant.outcome(10, room) for _ in range(100))))

    assert found == {"accepted": 10, "quota_exceeded": 90}
    assert await tenant.stored() == await tenant.there() == StoredNow(30, 1000)


async def test_single_documents_and_batches_of_a_new_tenant_fill_the_limit_together(tenant: Tenant) -> None:
    for each in [tenant, tenant.another(), tenant.another()]:
        room = Room(documents=25, storage_bytes=10_000)
        singles = [each.outcome(1, room) for _ in range(20)]
        batches = [each.outcomes([(None, 1)] * 5, room) for _ in range(8)]

        alone, together = await asyncio.gather(asyncio.gather(*singles), asyncio.gather(*batches))

        found = Counter([*alone, *(outcome for batch in together for outcome in batch)])
        assert found == {"accepted": 25, "quota_exceeded": 35}
        assert await each.stored() == await each.there() == StoredNow(25, 25)


async def test_what_others_take_in_meanwhile_is_not_overlooked(tenant: Tenant) -> None:
    """The batch has seen room for three, and one place goes before it holds the counts."""
    room = Room(documents=4)
    await tenant.put()

    async with tenant.admin.acquire() as other, other.transaction():
        await other.execute(
            "UPDATE indexer.tenant_counts SET documents = documents + 1 WHERE tenant_id = $1", tenant.id
        )
        batch = asyncio.create_task(tenant.outcomes([(None, 1)] * 3, room))
        await somebody_waits(tenant)

    assert await batch == ["accepted", "accepted", "quota_exceeded"]
    assert (await tenant.stored()).documents == 4


async def test_who_holds_the_counts_waits_for_nobody(tenant: Tenant) -> None:
    """Another transaction gives the tenant its first turn, and counts after that."""
    async with tenant.database.tenant_transaction(tenant.id) as other:
        await jobs.give_turn(other, tenant.id)
        batch = asyncio.create_task(tenant.outcomes([(None, 1)] * 2, Room(documents=1)))
        await somebody_waits(tenant)
        await counts.add(other, tenant.id, Usage(), Usage())

    assert await batch == ["accepted", "quota_exceeded"]


async def test_a_refusal_names_the_quota_its_limit_and_what_is_used(tenant: Tenant) -> None:
    await tenant.put_many([(None, 100)] * 3)

    with pytest.raises(QuotaExceededError) as documents:
        await tenant.put(None, 1, Room(documents=3))
    with pytest.raises(QuotaExceededError) as storage:
        await tenant.put(None, 102, Room(storage_bytes=401))

    assert detail(documents.value) == (
        "quota_exceeded 429 The quota `documents` is 3 documents, and 3 are used."
    )
    assert detail(storage.value).startswith("quota_exceeded 429 The quota `storage_mb` is ")
    assert "401 bytes; 300 are used, and 102 more are needed" in detail(storage.value)


async def test_each_document_of_a_batch_that_fits_is_accepted_in_order(tenant: Tenant) -> None:
    room = Room(storage_bytes=100)

    found = await tenant.put_many([("a", 60), ("b", 50), ("c", 30), ("d", 20), ("e", 10)], room)

    assert [bool(each.accepted) for each in found] == [True, False, True, False, True]
    assert next(detail(each.error) for each in found if each.error).endswith(
        "100 bytes; 60 are used, and 50 more are needed."
    )
    assert await tenant.stored() == await tenant.there() == StoredNow(3, 100)


async def test_a_document_that_stands_in_a_batch_twice_is_counted_once(tenant: Tenant) -> None:
    room = Room(documents=2, storage_bytes=100)

    found = await tenant.outcomes([("a", 90), ("b", 20), ("a", 10), ("b", 20), ("b", 90), ("c", 1)], room)

    assert found == [
        "accepted", "quota_exceeded", "accepted", "accepted", "accepted", "quota_exceeded",
    ]  # fmt: skip
    assert await tenant.stored() == await tenant.there() == StoredNow(2, 100)


async def test_unchanged_content_is_never_refused(tenant: Tenant) -> None:
    body = tenant.body(10)
    first = await tenant.put("a", blob=body)

    again = await tenant.put("a", blob=body, room=Room(documents=0, storage_bytes=0))

    assert (again.unchanged, again.version) == (True, first.version)


async def test_only_growth_is_refused_beyond_a_limit_that_was_lowered(tenant: Tenant) -> None:
    await tenant.put_many([("a", 100), ("b", 100)])
    lowered = Room(documents=1, storage_bytes=50)

    await tenant.put("a", 100, lowered)
    await tenant.put("a", 90, lowered)
    with pytest.raises(QuotaExceededError):
        await tenant.put("a", 91, lowered)

    assert await tenant.stored() == await tenant.there() == StoredNow(2, 190)


async def test_what_is_deleted_makes_room(tenant: Tenant) -> None:
    room = Room(documents=2, storage_bytes=20)
    await tenant.create_collection("other")
    first = await tenant.put("a", 10, room)
    await tenant.put("b", 10, room, collection="other")
    assert await tenant.outcome(1, room) == "quota_exceeded"

    await tenant.delete(first.document_id)
    assert await tenant.stored() == await tenant.there() == StoredNow(1, 10)
    await tenant.put("a", 10, room)
    await tenant.delete_collection("other")

    assert await tenant.stored() == await tenant.there() == StoredNow(1, 10)
    assert await tenant.outcome(10, room) == "accepted"


async def test_a_deleted_document_that_comes_back_needs_room(tenant: Tenant) -> None:
    deleted = await tenant.put("a")
    await tenant.delete(deleted.document_id)
    await tenant.put("b")

    with pytest.raises(QuotaExceededError):
        await tenant.put("a", room=Room(documents=1))


async def test_a_refused_document_leaves_nothing(tenant: Tenant) -> None:
    room = Room(documents=1)
    files = [await tenant.file(content) for content in (b"first", b"second")]

    accepted, refused = await tenant.put_all([("a", files[0]), ("b", files[1])], room)
    with pytest.raises(QuotaExceededError):
        await tenant.put("c", room=room)

    assert accepted.accepted is not None
    assert refused.error is not None
    rows = await tenant.admin.fetch("SELECT id FROM indexer.documents WHERE tenant_id = $1", tenant.id)
    assert [row["id"] for row in rows] == [accepted.accepted.document_id]
    left = [entry.path async for entry in tenant.blobs.list(f"tenants/{tenant.id}")]
    assert left == [files[0].path]


async def test_what_was_refused_under_a_key_is_accepted_under_it_once_there_is_room(tenant: Tenant) -> None:
    body = tenant.body(10)
    with pytest.raises(QuotaExceededError):
        await tenant.put("a", blob=body, room=Room(documents=0), key="key")

    await tenant.put("a", blob=body, room=Room(documents=1), key="key")

    assert (await tenant.stored()).documents == 1


async def test_without_a_limit_all_is_counted(tenant: Tenant) -> None:
    await asyncio.gather(*(tenant.put(None, 7) for _ in range(10)), tenant.put_many([(None, 3)] * 10))

    assert await tenant.stored() == await tenant.there() == StoredNow(20, 100)
