"""What was answered is told, and what is not used is given back."""

import asyncio
from collections.abc import Callable
from datetime import date
from uuid import uuid4

import pytest
from services.gateway.tests.usage_service import UsageService

from quarry_common.contracts.usage import SearchTally
from quarry_gateway.limits import reporter, searches
from quarry_gateway.limits.holding import FIRST_BLOCK, IDLE_SECONDS
from quarry_gateway.limits.searches import GIVE_UP_SECONDS, SearchQuota

from .conftest import Time
from .quota import MUCH, TENANT, TODAY, fail, lost, search, settled


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
