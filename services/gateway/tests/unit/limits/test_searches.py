"""The quota of searches per day, as one gateway keeps it."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import cast
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from services.gateway.tests.usage_service import UsageService

from quarry_common.contracts.usage import LeaseSearches, SearchTally, SettleSearches
from quarry_common.errors import QuotaExceededError, RemoteError, UnavailableError
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.limits import reporter, searches
from quarry_gateway.limits.holding import FIRST_BLOCK, IDLE_SECONDS, LARGEST_BLOCK
from quarry_gateway.limits.searches import GIVE_UP_SECONDS, SearchQuota

from .conftest import Time

TENANT = uuid4()
TODAY = date(2026, 1, 31)
MUCH = 1_000_000


@pytest.fixture
def quota(service: UsageService, time: Time) -> SearchQuota:
    return SearchQuota(cast(RpcClient, service), clock=time.clock, now=time.now)


async def search(quota: SearchQuota, limit: int | None = MUCH, count: int = 1) -> None:
    async with quota.search(TENANT, limit, count):
        pass


async def fail(quota: SearchQuota, limit: int | None = MUCH, count: int = 1) -> None:
    with pytest.raises(ZeroDivisionError):
        async with quota.search(TENANT, limit, count):
            raise ZeroDivisionError


def leases(service: UsageService) -> list[LeaseSearches]:
    return [each for each in service.asked if isinstance(each, LeaseSearches)]


def lost() -> float:
    return REGISTRY.get_sample_value("usage_lost_total", {"what": "searches"}) or 0.0


def settled(service: UsageService) -> list[tuple[int | None, int, int]]:
    return [(s.limit, s.unused, s.answered) for s in service.asked if isinstance(s, SettleSearches)]


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


async def test_without_a_quota_nobody_is_asked_and_all_is_counted(
    quota: SearchQuota, service: UsageService, time: Time
) -> None:
    service.away = True
    for _ in range(20):
        await search(quota, None)
    await fail(quota, None)
    assert service.requests == 0

    service.away = False
    await quota.tell()
    assert service.tallies == [SearchTally(TENANT, TODAY, None, 20)]


async def test_answers_of_many_tenants_are_told_together_within_five_seconds(
    quota: SearchQuota, service: UsageService
) -> None:
    tenants = [uuid4() for _ in range(100)]
    for tenant in tenants:
        for limit in (None, MUCH, MUCH):
            async with quota.search(tenant, limit):
                pass
    before = service.requests

    await quota.tell()
    await quota.tell()

    assert service.requests == before + 1
    assert service.tallies == [
        SearchTally(tenant, TODAY, limit, answered)
        for tenant in tenants
        for limit, answered in ((MUCH, 2), (None, 1))
    ]
    assert reporter.REPORT_SECONDS <= 5


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
async def test_answers_that_could_not_be_told_are_told_again_and_count_once(
    quota: SearchQuota, service: UsageService, fault: str
) -> None:
    await search(quota, None)
    service.faults.append(fault)
    await quota.tell()
    await search(quota, None)
    await quota.tell()
    await quota.tell()

    assert service.days[TENANT, TODAY].answered == 2
    assert len(service.tallies) == 2


async def test_answers_that_can_never_be_told_are_given_up(
    quota: SearchQuota, service: UsageService, time: Time
) -> None:
    before = lost()
    await search(quota, None)
    service.away = True
    await quota.tell()
    time.pass_by(GIVE_UP_SECONDS + 1)
    await search(quota, None)
    await quota.tell()
    assert lost() == before + 1

    service.away = False
    await quota.tell()
    assert service.days[TENANT, TODAY].answered == 1


async def test_what_is_not_used_is_given_back(quota: SearchQuota, service: UsageService, time: Time) -> None:
    await search(quota)
    time.pass_by(IDLE_SECONDS)
    await quota.settle_due()

    assert settled(service) == [(MUCH, FIRST_BLOCK - 1, 1)]
    assert quota._desks == {}


async def test_a_new_day_has_a_new_quota_and_the_old_one_is_settled(
    quota: SearchQuota, service: UsageService, time: Time
) -> None:
    await search(quota, 20)
    time.pass_by(12 * 3600)
    await search(quota, 20)
    await quota.settle_due()
    await quota.tell()

    assert service.days[TENANT, TODAY].answered == service.days[TENANT, TODAY].leased == 1
    await quota.flush()
    assert service.days[TENANT, date(2026, 2, 1)].answered == 1


async def test_a_search_counts_for_the_day_on_which_it_began(
    quota: SearchQuota, service: UsageService, time: Time
) -> None:
    async with quota.search(TENANT, 20):
        time.pass_by(12 * 3600)
        await quota.settle_due()

    await quota.tell()
    await quota.settle_due()
    assert service.days[TENANT, TODAY].answered == service.days[TENANT, TODAY].leased == 1
    assert quota._desks == {}


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


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
async def test_what_is_given_back_without_an_answer_is_told_again_and_counts_once(
    quota: SearchQuota, service: UsageService, time: Time, fault: str
) -> None:
    await search(quota, 100)
    time.pass_by(IDLE_SECONDS)
    service.faults.append(fault)
    await quota.settle_due()
    requests = service.requests
    await quota.settle_due()  # not at once
    assert service.requests == requests

    time.pass_by(1)
    await quota.settle_due()
    assert service.days[TENANT, TODAY].answered == service.days[TENANT, TODAY].leased == 1


async def test_what_cannot_be_told_is_tried_ever_more_rarely_and_in_the_end_given_up(
    quota: SearchQuota, service: UsageService, time: Time
) -> None:
    await search(quota, 100)
    before, requests = lost(), service.requests
    service.away = True
    for _ in range(int(GIVE_UP_SECONDS) + 100):
        time.pass_by(1)
        await quota.settle_due()

    assert lost() == before + 1
    assert service.requests - requests < GIVE_UP_SECONDS / 25

    service.away = False
    time.pass_by(IDLE_SECONDS)
    await quota.settle_due()
    assert settled(service) == []
    assert quota._desks == {}


async def test_all_is_given_back_at_the_end(quota: SearchQuota, service: UsageService) -> None:
    stopping = asyncio.Event()
    running = asyncio.create_task(quota.run(stopping))
    await search(quota)
    await search(quota, None)
    stopping.set()
    await running

    day = service.days[TENANT, TODAY]
    assert (day.answered, day.leased, day.unlimited) == (2, 1, 1)


async def test_a_tenants_service_that_stays_away_does_not_hold_up_the_end(
    quota: SearchQuota, service: UsageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (searches, reporter):
        monkeypatch.setattr(module, "FLUSH_SECONDS", 0.1)
    await search(quota)
    service.away = True
    async with asyncio.timeout(2):
        await quota.flush()


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


def test_what_many_tenants_give_back_goes_out_together(
    service: UsageService, time: Time, quota: SearchQuota
) -> None:
    most = under_way = 0
    answer: Callable[..., object] = service.call

    async def counted(*words: object, **named: object) -> object:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        try:
            return await answer(*words, **named)  # type: ignore[misc]
        finally:
            under_way -= 1

    async def run() -> None:
        for _ in range(100):
            async with quota.search(uuid4(), MUCH):
                pass
        service.call = counted  # type: ignore[method-assign]
        time.pass_by(IDLE_SECONDS)
        await quota.settle_due()

    asyncio.run(run())
    assert most == searches.TOGETHER
    assert sum(day.answered for day in service.days.values()) == 100
    assert sum(day.leased for day in service.days.values()) == 100
