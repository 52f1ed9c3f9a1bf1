"""How the use of keys is counted and told."""

import asyncio
from datetime import UTC, date, datetime
from typing import cast
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from services.gateway.tests.usage_service import UsageService

from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.limits import key_use, reporter
from quarry_gateway.limits.key_use import KeyUse
from quarry_gateway.limits.reporter import GIVE_UP_SECONDS, REPORT_SECONDS

from .conftest import Time

TENANT, KEY = uuid4(), uuid4()
TODAY = date(2026, 1, 31)


@pytest.fixture
def use(service: UsageService, time: Time) -> KeyUse:
    return KeyUse(cast(RpcClient, service), clock=time.unix)


def lost() -> float:
    return REGISTRY.get_sample_value("usage_lost_total", {"what": "requests"}) or 0.0


async def test_requests_and_denials_are_told_together(use: KeyUse, service: UsageService, time: Time) -> None:
    for denied in (False, True, False):
        use.note(TENANT, KEY, denied)
        time.pass_by(1)
    await use.tell()

    ((tally,),) = [report.tallies for report in service.reports]
    assert (tally.tenant_id, tally.key_id, tally.day) == (TENANT, KEY, TODAY)
    assert (tally.requests, tally.denied) == (3, 1)
    assert tally.last_used_at == datetime(2026, 1, 31, 12, 0, 2, tzinfo=UTC)


async def test_without_requests_nothing_is_told(use: KeyUse, service: UsageService) -> None:
    use.note(TENANT, KEY, False)
    await use.tell()
    await use.tell()

    assert service.requests == 1


async def test_each_day_is_counted_by_itself(use: KeyUse, service: UsageService, time: Time) -> None:
    use.note(TENANT, KEY, False)
    time.pass_by(12 * 3600)
    use.note(TENANT, KEY, False)
    await use.tell()

    assert service.keys == {(TENANT, KEY, TODAY): 1, (TENANT, KEY, date(2026, 2, 1)): 1}
    assert len(service.reports) == 1


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
async def test_a_report_without_an_answer_is_repeated_and_counts_once(
    use: KeyUse, service: UsageService, fault: str
) -> None:
    use.note(TENANT, KEY, True)
    service.faults.append(fault)
    await use.tell()
    use.note(TENANT, KEY, False)
    await use.tell()
    await use.tell()

    assert service.keys == {(TENANT, KEY, TODAY): 2}
    assert service.denied == {(TENANT, KEY, TODAY): 1}


async def test_many_keys_are_told_in_several_reports(
    use: KeyUse, service: UsageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "TALLIES_IN_REPORT", 10)
    for _ in range(25):
        use.note(TENANT, uuid4(), False)
    service.faults.extend(["", "lost"])
    await use.tell()
    assert [len(report.tallies) for report in service.reports] == [10]

    await use.tell()
    assert [len(report.tallies) for report in service.reports] == [10, 10, 5]


async def test_more_keys_than_fit_are_lost_and_counted_as_such(
    use: KeyUse, service: UsageService, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_use, "MAX_KEYS", 3)
    before = lost()
    for _ in range(2):
        use.note(TENANT, KEY, False)
    time.pass_by(86_400)
    for _ in range(4):
        use.note(TENANT, uuid4(), False)
    await use.tell()

    assert service.keys.total() == 4
    assert lost() == before + 2


async def test_a_report_that_never_arrives_is_given_up(
    use: KeyUse, service: UsageService, time: Time
) -> None:
    before = lost()
    use.note(TENANT, KEY, False)
    service.away = True
    await use.tell()
    time.pass_by(GIVE_UP_SECONDS + 1)
    use.note(TENANT, KEY, False)
    await use.tell()
    assert lost() == before + 1

    service.away = False
    await use.tell()
    assert service.keys.total() == 1


async def test_all_is_told_at_the_end(use: KeyUse, service: UsageService) -> None:
    stopping = asyncio.Event()
    running = asyncio.create_task(use.run(stopping))
    await asyncio.sleep(0)
    use.note(TENANT, KEY, False)
    service.faults.append("unanswered")
    stopping.set()
    await running

    assert service.keys.total() == 1
    assert REPORT_SECONDS <= 5


async def test_a_tenants_service_that_stays_away_does_not_hold_up_the_end(
    use: KeyUse, service: UsageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "FLUSH_SECONDS", 0.1)
    use.note(TENANT, KEY, False)
    service.away = True
    async with asyncio.timeout(2):
        await use.flush()
