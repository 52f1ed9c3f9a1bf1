"""Rate limits hold over all gateways, and on each of them while Redis is away."""

import asyncio
import signal
import time
from collections import Counter
from itertools import cycle

import httpx
import psutil
import pytest
from tests.access.conftest import Gateways, limit
from tests.platform import Platform, Tenant, until

RATE, BURST, OFFERED_PER_SECOND = 50, 50, 200
FROZEN_SECONDS = 3
SLACK = 1.05
"""How far above its rate what is let in may be: it is measured from outside."""


async def offer(clients: list[httpx.AsyncClient], seconds: float) -> tuple[Counter[int], float]:
    """Send so many requests a second, by turns to both; return how they were answered in how many seconds."""
    statuses: Counter[int] = Counter()
    begun = time.monotonic()

    async def ask(client: httpx.AsyncClient) -> None:
        statuses[(await client.get("/api/collections")).status_code] += 1

    async with asyncio.TaskGroup() as group:
        for number, client in zip(range(int(seconds * OFFERED_PER_SECOND)), cycle(clients), strict=False):
            await asyncio.sleep(max(0.0, begun + number / OFFERED_PER_SECOND - time.monotonic()))
            group.create_task(ask(client))
    return statuses, time.monotonic() - begun


@pytest.mark.parametrize(
    "seconds", [pytest.param(3, id="short"), pytest.param(10, id="full", marks=pytest.mark.full)]
)
async def test_two_gateways_admit_together_what_the_rate_allows(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant, seconds: int
) -> None:
    await limit(operator, tenant, requests_per_second=RATE, burst=BURST)
    async with gateways.clients(tenant.key) as clients:
        await known_to_both(clients)

        statuses, lasted = await offer(clients, seconds)

        assert set(statuses) == {200, 429}
        assert 0.9 * (RATE * seconds + BURST) <= statuses[200] <= 1.01 * (RATE * lasted + BURST) + 1


async def known_to_both(clients: list[httpx.AsyncClient]) -> None:
    """Return when both gateways limit the tenant and its bucket is full again."""

    async def limited() -> bool:
        answers = [await client.get("/api/collections") for client in clients]
        return all(f"q={BURST}" in answer.headers.get("ratelimit-policy", "") for answer in answers)

    await until(limited, 10, "both gateways know the limit")

    async def full() -> bool:
        answer = await clients[0].get("/api/collections")
        return f"r={BURST - 1};" in answer.headers["ratelimit"] + ";"

    await until(full, 10, "the bucket is full")


async def test_a_refusal_says_when_to_come_back(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    await limit(operator, tenant, requests_per_second=1, burst=1)
    async with gateways.clients(tenant.key) as clients:

        async def refused() -> httpx.Response | None:
            answers = [await client.get("/api/collections") for client in clients]
            return next((answer for answer in answers if answer.status_code == 429), None)

        answer = await until(refused, 10, "a request is refused")

    assert answer.json()["code"] == "rate_limited"
    assert 1 <= int(answer.headers["retry-after"]) <= 2
    assert "r=0" in answer.headers["ratelimit"]


async def test_probes_and_metrics_are_never_limited(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    await limit(operator, tenant, requests_per_second=1, burst=1)
    async with gateways.clients(tenant.key) as (client, _):
        for _ in range(20):
            for path in ("/livez", "/readyz", "/metrics", "/api/health", "/api/version"):
                answer = await client.get(path)
                assert answer.status_code == 200
                assert "ratelimit" not in answer.headers


async def test_while_redis_stands_still_each_gateway_limits_by_itself(
    platform: Platform, gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    await limit(operator, tenant, requests_per_second=RATE, burst=BURST)
    async with gateways.clients(tenant.key) as clients:
        await known_to_both(clients)
        redis = platform.process("redis")
        redis.suspend()
        try:
            statuses, lasted = await offer(clients, FROZEN_SECONDS)
            # All of it was offered without Redis: nobody has woken it or put another in its place.
            assert redis.status() == psutil.STATUS_STOPPED
        finally:
            redis.resume()

        assert set(statuses) == {200, 429}
        assert_limited_locally(statuses, FROZEN_SECONDS, lasted)
        await recovered(clients)


async def test_while_redis_is_restarted_each_gateway_limits_by_itself(
    platform: Platform, gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    await limit(operator, tenant, requests_per_second=RATE, burst=BURST)
    async with gateways.clients(tenant.key) as clients:
        await known_to_both(clients)
        platform.process("redis").send_signal(signal.SIGKILL)
        try:
            statuses, lasted = await offer(clients, 3)
        finally:
            await platform.all_ready(60)

        assert set(statuses) == {200, 429}
        assert_limited_locally(statuses, 3, lasted)
        await recovered(clients)


def assert_limited_locally(statuses: Counter[int], seconds: float, lasted: float) -> None:
    """Each lets in at most what the rate allows, and both together no less."""
    assert 0.9 * RATE * seconds <= statuses[200] <= 2 * SLACK * (RATE * lasted + BURST)


async def recovered(clients: list[httpx.AsyncClient]) -> None:
    """Return when both count together again: what they let in together is what the rate allows one."""
    await known_to_both(clients)

    async def together() -> bool:
        statuses, lasted = await offer(clients, 2)
        assert set(statuses) <= {200, 429}
        return statuses[200] <= SLACK * (RATE * lasted + BURST)

    await until(together, 30, "both gateways share the limit again")
