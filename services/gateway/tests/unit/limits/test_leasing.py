"""Searches of a day are let in by leased blocks, in their order."""

import asyncio
from typing import cast
from uuid import uuid4

import pytest
from services.gateway.tests.usage_service import UsageService

from quarry_common.errors import QuotaExceededError, RemoteError, UnavailableError
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.limits import searches
from quarry_gateway.limits.holding import FIRST_BLOCK, IDLE_SECONDS, LARGEST_BLOCK
from quarry_gateway.limits.searches import SearchQuota

from .conftest import Time
from .quota import MUCH, TENANT, TODAY, fail, leases, search


async def test_searches_are_leased_in_blocks(quota: SearchQuota, service: UsageService) -> None:
    for _ in range(FIRST_BLOCK):
        await search(quota)

    (lease,) = leases(service)
    assert (lease.day, lease.wanted, lease.needed, lease.answered) == (TODAY, FIRST_BLOCK, 1, 0)
    await search(quota)
    assert leases(service)[1].answered == FIRST_BLOCK


async def test_blocks_grow_with_the_demand_and_shrink_again(
    quota: SearchQuota, service: UsageService, time: Time
) -> None:
    for _ in range(2_000):
        await search(quota)
    assert [lease.wanted for lease in leases(service)] == [8, 16, 32, 64, 128, 256, 500, 500, 500]

    for _ in range(12):
        time.pass_by(IDLE_SECONDS / 3)
        await quota.settle_due()
        await search(quota)
    assert [lease.wanted for lease in leases(service)][9:] == [250, 125, 62, 31]
    assert service.days[TENANT, TODAY].leased <= 2_012 + LARGEST_BLOCK / 16


async def test_who_comes_at_once_waits_for_one_lease(quota: SearchQuota, service: UsageService) -> None:
    await asyncio.gather(*(search(quota) for _ in range(100)))

    assert [lease.wanted for lease in leases(service)] == [100]


async def test_the_limit_itself_is_reached_and_not_passed(quota: SearchQuota, service: UsageService) -> None:
    outcomes = await asyncio.gather(*(search(quota, 40) for _ in range(60)), return_exceptions=True)

    refused = [outcome for outcome in outcomes if outcome is not None]
    assert len(refused) == 20
    assert all(isinstance(outcome, QuotaExceededError) for outcome in refused)
    await quota.flush()
    assert service.days[TENANT, TODAY].answered == service.days[TENANT, TODAY].leased == 40


async def test_a_refusal_names_the_quota_and_when_it_begins_anew(quota: SearchQuota, time: Time) -> None:
    await search(quota, 1)

    for _ in range(2):  # told by the service, and remembered
        with pytest.raises(QuotaExceededError) as caught:
            await search(quota, 1)
        data = caught.value.data
        assert (data.code, data.status, data.retry_after_seconds) == ("quota_exceeded", 429, 12 * 3600)
        assert "`searches_per_day`" in data.detail
        assert "day's 1 searches" in data.detail


async def test_a_refusal_is_remembered_for_a_second(
    quota: SearchQuota, service: UsageService, time: Time
) -> None:
    await search(quota, 1)
    for _ in range(100):
        with pytest.raises(QuotaExceededError):
            await search(quota, 1)
    assert len(leases(service)) == 2

    time.pass_by(1)
    with pytest.raises(QuotaExceededError):
        await search(quota, 1)
    assert len(leases(service)) == 3


async def test_what_failed_is_there_for_the_next(quota: SearchQuota, service: UsageService) -> None:
    await fail(quota, 1)
    await search(quota, 1)

    assert len(leases(service)) == 1
    await quota.flush()
    assert service.days[TENANT, TODAY].answered == 1


async def test_what_comes_back_ends_a_refusal(quota: SearchQuota) -> None:
    running = quota.search(TENANT, 1)
    await running.__aenter__()
    with pytest.raises(QuotaExceededError):
        await search(quota, 1)

    await running.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)
    await search(quota, 1)


async def test_of_a_batch_those_that_failed_are_given_back(quota: SearchQuota, service: UsageService) -> None:
    async with quota.search(TENANT, MUCH, 50) as admitted:
        admitted.failed = 3

    await quota.flush()
    assert service.days[TENANT, TODAY].answered == service.days[TENANT, TODAY].leased == 47


async def test_a_batch_is_let_in_as_a_whole_or_not_at_all(quota: SearchQuota, service: UsageService) -> None:
    await search(quota, 60, 50)
    with pytest.raises(QuotaExceededError, match="fewer than 50 are left"):
        await search(quota, 60, 50)
    assert service.days[TENANT, TODAY].leased == 50

    await search(quota, 60, 10)
    await quota.flush()
    assert service.days[TENANT, TODAY].answered == 60


async def test_whoever_asks_for_less_than_was_refused_is_not(
    quota: SearchQuota, service: UsageService
) -> None:
    await search(quota, 60, 50)
    outcomes = await asyncio.gather(
        *(search(quota, 60, count) for count in (50, 1, 20, 9)), return_exceptions=True
    )

    assert [outcome is None for outcome in outcomes] == [False, True, False, True]


async def test_who_came_first_is_let_in_first(quota: SearchQuota, service: UsageService) -> None:
    order: list[int] = []

    async def one(number: int, count: int) -> None:
        async with quota.search(TENANT, 60, count):
            order.append(number)

    await asyncio.gather(*(one(number, count) for number, count in enumerate([1, 50, 1, 1])))
    assert order == [0, 1, 2, 3]


async def test_who_comes_later_does_not_take_what_another_waits_for(quota: SearchQuota) -> None:
    order: list[str] = []

    async def one(name: str, count: int) -> None:
        async with quota.search(TENANT, 60, count):
            order.append(name)

    await search(quota, 60)
    batch = asyncio.create_task(one("batch", 10))
    await asyncio.sleep(0)
    await asyncio.gather(one("single", 1), batch)
    assert order == ["batch", "single"]


async def test_what_is_too_little_for_a_batch_is_given_back_for_others(
    quota: SearchQuota, service: UsageService, time: Time
) -> None:
    other = SearchQuota(cast(RpcClient, service), clock=time.clock, now=time.now)
    await search(quota, 100)
    await search(other, 100, 50)
    assert service.days[TENANT, TODAY].leased == 56

    with pytest.raises(QuotaExceededError):
        await search(quota, 100, 50)
    await quota.settle_due()
    assert service.days[TENANT, TODAY].leased == 51
    await search(other, 100, 49)


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
async def test_a_lease_without_an_answer_is_asked_for_again_and_counts_once(
    quota: SearchQuota, service: UsageService, fault: str
) -> None:
    service.faults.append(fault)
    with pytest.raises(RemoteError) as caught:
        await search(quota, 100)
    assert caught.value.data.retry_after_seconds == 2

    for _ in range(100):
        await search(quota, 100)
    with pytest.raises(QuotaExceededError):
        await search(quota, 100)
    await quota.flush()
    assert service.days[TENANT, TODAY].answered == 100


async def test_who_goes_away_while_waiting_takes_nothing_along(
    quota: SearchQuota, service: UsageService
) -> None:
    for turns in range(12):
        gone = asyncio.create_task(search(quota, 10_000, count=7))
        for _ in range(turns):
            await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await quota.flush()

    day = service.days[TENANT, TODAY]
    assert day.leased == day.answered


async def test_who_waits_too_long_is_told_so(
    quota: SearchQuota, service: UsageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "WAIT_SECONDS", 0.05)
    never = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        await never.wait()

    monkeypatch.setattr(service, "call", hang)
    with pytest.raises(UnavailableError) as caught:
        await search(quota)
    assert caught.value.data.status == 504
    never.set()


async def test_tenants_in_memory_are_bounded(
    quota: SearchQuota, service: UsageService, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "MAX_DESKS", 4)
    for _ in range(4):
        async with quota.search(uuid4(), MUCH):
            pass
    with pytest.raises(UnavailableError):
        await search(quota)

    # Where it is crowded, nobody keeps for long what is not used.
    time.pass_by(searches.CROWDED_SECONDS)
    await quota.settle_due()
    await search(quota)
