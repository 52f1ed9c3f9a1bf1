"""All limits together over a real bus: what was answered and noted arrives, at the latest at the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from libs.common.tests.integration.conftest import Until
from services.gateway.tests.usage_service import UsageService

from quarry_common.contracts.api_keys import REPORT_KEY_USE
from quarry_common.contracts.usage import LEASE_SEARCHES, REPORT_SEARCHES, SETTLE_SEARCHES
from quarry_common.errors import QuotaExceededError, RemoteError
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcClient, RpcServer
from quarry_gateway.limits import reporter
from quarry_gateway.limits.buckets import Bucket, Endpoint, Owner
from quarry_gateway.limits.gcra import Limit
from quarry_gateway.limits.limits import Limits, open_limits
from quarry_gateway.settings import GatewaySettings

TENANT, KEY = uuid4(), uuid4()


@pytest.fixture
async def rpc(nats_url: str) -> AsyncIterator[RpcClient]:
    async with broker.connect(GatewaySettings(nats_url=nats_url), "test") as connection:
        yield RpcClient(connection)


@asynccontextmanager
async def answering(service: UsageService, nats_url: str) -> AsyncIterator[None]:
    async with broker.connect(GatewaySettings(nats_url=nats_url), "tenants") as connection:
        server, stopping = RpcServer(connection, "tenants"), asyncio.Event()
        server.answer(LEASE_SEARCHES, service.lease)
        server.answer(SETTLE_SEARCHES, service.settle)
        server.answer(REPORT_SEARCHES, service.report_searches)
        server.answer(REPORT_KEY_USE, service.report)
        running = asyncio.create_task(server.run(stopping))
        await connection.flush()
        try:
            yield
        finally:
            stopping.set()
            async with asyncio.timeout(10):
                await running


@asynccontextmanager
async def at_work(settings: GatewaySettings, rpc: RpcClient) -> AsyncIterator[Limits]:
    stopping = asyncio.Event()
    async with open_limits(settings, rpc) as limits:
        parts = asyncio.gather(*(part.run(stopping) for part in limits.parts))
        try:
            yield limits
        finally:
            stopping.set()
            async with asyncio.timeout(20):
                await parts


async def search(limits: Limits, limit: int | None) -> bool:
    try:
        async with limits.searches.search(TENANT, limit):
            await asyncio.sleep(0)
    except QuotaExceededError:
        return False
    return True


async def test_two_gateways_answer_exactly_the_limit(
    settings: GatewaySettings, rpc: RpcClient, nats_url: str
) -> None:
    service = UsageService()
    async with (
        answering(service, nats_url),
        at_work(settings, rpc) as one,
        at_work(settings, rpc) as other,
    ):
        answers = await asyncio.gather(*(search(each, 300) for _ in range(200) for each in (one, other)))

    (day,) = service.days.values()
    assert sum(answers) == day.answered == day.leased == 300


async def test_what_the_last_requests_leave_is_told_after_them(
    settings: GatewaySettings, rpc: RpcClient, nats_url: str
) -> None:
    service = UsageService()
    async with answering(service, nats_url), open_limits(settings, rpc) as limits:
        stopping = asyncio.Event()
        stopping.set()
        for part in limits.parts:
            await part.run(stopping)
        # Requests that had begun go on for a moment after that.
        assert await search(limits, 100)
        assert await search(limits, None)
        limits.key_use.note(TENANT, KEY, True)

    (day,) = service.days.values()
    assert (day.answered, day.leased, day.unlimited) == (2, 1, 1)
    assert service.denied == {(TENANT, KEY, datetime.now(UTC).date()): 1}


async def test_usage_is_told_while_the_gateway_works(
    settings: GatewaySettings,
    rpc: RpcClient,
    nats_url: str,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = UsageService()
    monkeypatch.setattr(reporter, "REPORT_SECONDS", 0.1)

    async def told() -> bool:
        return service.keys.total() == 1 and sum(day.answered for day in service.days.values()) == 1

    async with answering(service, nats_url), at_work(settings, rpc) as limits:
        assert await search(limits, 100)
        limits.key_use.note(TENANT, KEY, False)
        await until(told)


async def test_without_the_tenants_service_a_quota_lets_nobody_in(
    settings: GatewaySettings, rpc: RpcClient, nats_url: str
) -> None:
    service = UsageService()
    async with at_work(settings, rpc) as limits:
        with pytest.raises(RemoteError) as caught:
            await search(limits, 100)
        assert (caught.value.data.code, caught.value.data.status) == ("unavailable", 503)
        assert await search(limits, None)

        async with answering(service, nats_url):
            assert await search(limits, 100)
            await limits.searches.flush()
    (day,) = service.days.values()
    assert (day.answered, day.leased) == (2, 1)


async def test_a_request_passes_its_rate_limit_too(settings: GatewaySettings, rpc: RpcClient) -> None:
    async with at_work(settings, rpc) as limits:
        bucket = Bucket(Owner.KEY, uuid4(), Endpoint.SEARCH, Limit(1, 1))
        assert (await limits.rates.take([bucket])).allowed
        assert not (await limits.rates.take([bucket])).allowed
