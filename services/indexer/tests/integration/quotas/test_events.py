"""What is told of quotas: each crossing once, in the transaction of the change that crosses."""

import asyncio

from quarry_common.contracts.documents import Room

from .tenant import Tenant

THRESHOLD, EXCEEDED = "quota.threshold_reached", "quota.exceeded"


async def test_the_threshold_and_the_limit_are_told_once(tenant: Tenant) -> None:
    room = Room(documents=10)

    for _ in range(7):
        await tenant.put(room=room)
    assert await tenant.told() == []
    for _ in range(3):
        await tenant.put(room=room)
    for _ in range(3):
        assert await tenant.outcome(1, room) == "quota_exceeded"

    assert await tenant.told() == [(THRESHOLD, "documents", 10, 8), (EXCEEDED, "documents", 10, 10)]


async def test_of_many_at_once_one_tells(tenant: Tenant) -> None:
    room = Room(documents=20, storage_bytes=200)

    await asyncio.gather(*(tenant.outcome(10, room) for _ in range(40)))

    assert sorted(await tenant.told()) == [
        (EXCEEDED, "documents", 20, 20),
        (EXCEEDED, "storage_mb", 200, 200),
        (THRESHOLD, "documents", 20, 16),
        (THRESHOLD, "storage_mb", 200, 160),
    ]


async def test_bytes_that_are_refused_tell_that_the_quota_is_exceeded(tenant: Tenant) -> None:
    room = Room(storage_bytes=100)
    await tenant.put(None, 70, room)

    for _ in range(3):
        assert await tenant.outcome(31, room) == "quota_exceeded"

    assert await tenant.told() == [(EXCEEDED, "storage_mb", 100, 70)]
    # It grew to the threshold after that, which is told all the same.
    await tenant.put(None, 10, room)
    assert (await tenant.told())[1:] == [(THRESHOLD, "storage_mb", 100, 80)]


async def test_the_first_refusal_of_a_tenant_without_anything_is_told(tenant: Tenant) -> None:
    assert await tenant.outcome(1, Room(documents=0)) == "quota_exceeded"

    assert await tenant.told() == [(EXCEEDED, "documents", 0, 0)]


async def test_what_a_batch_is_refused_is_told_with_what_it_is_granted(tenant: Tenant) -> None:
    room = Room(storage_bytes=100)

    await tenant.outcomes([(None, 85), (None, 20)], room)
    await tenant.outcomes([(None, 20)], room)

    assert await tenant.told() == [(THRESHOLD, "storage_mb", 100, 85), (EXCEEDED, "storage_mb", 100, 85)]


async def test_use_that_falls_and_rises_again_is_told_again(tenant: Tenant) -> None:
    room = Room(documents=5)
    stored = [await tenant.put(room=room) for _ in range(5)]
    told = [(THRESHOLD, "documents", 5, 4), (EXCEEDED, "documents", 5, 5)]
    assert await tenant.told() == told

    await tenant.delete(stored.pop().document_id)  # 80 % is not below it
    await tenant.put(room=room)
    assert await tenant.told() == told

    for each in stored[:2]:
        await tenant.delete(each.document_id)
    await tenant.put_many([(None, 1)] * 2, room)
    again = [(THRESHOLD, "documents", 5, 5), (EXCEEDED, "documents", 5, 5)]
    assert await tenant.told() == [*told, *again]


async def test_a_replacement_that_shrinks_below_the_threshold_is_a_fall(tenant: Tenant) -> None:
    room = Room(storage_bytes=100)

    for size in (80, 20, 90):
        await tenant.put("a", size, room)

    assert await tenant.told() == [(THRESHOLD, "storage_mb", 100, 80), (THRESHOLD, "storage_mb", 100, 90)]


async def test_a_raised_limit_is_told_of_anew(tenant: Tenant) -> None:
    await tenant.put_many([(None, 1)] * 10, Room(documents=10))

    await tenant.put_many([(None, 1)] * 2, Room(documents=12))

    assert (await tenant.told())[2:] == [(THRESHOLD, "documents", 12, 12), (EXCEEDED, "documents", 12, 12)]
