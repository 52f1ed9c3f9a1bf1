"""Quotas are exact, however many ask at once and through whichever gateway."""

import asyncio
from collections import Counter
from itertools import cycle

import httpx
import pytest
from tests.access.conftest import Gateways, limit
from tests.platform import Tenant, until

SEARCHES_SHORT, SEARCHES_FULL = (100, 500), (1_000, 5_000)
"""The quota of a day, and how many are asked for."""


async def test_of_a_hundred_uploads_at_once_those_that_fit_are_accepted(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    await limit(operator, tenant, documents=15)
    async with gateways.clients(tenant.key) as clients:
        for number in range(5):
            await clients[number % 2].post("/api/documents", json={"title": f"before {number}"})
        assert await stored(clients[0]) == 5

        answers = await asyncio.gather(
            *(
                client.post("/api/documents", json={"title": f"document {number}"})
                for number, client in zip(range(100), cycle(clients), strict=False)
            )
        )

        assert Counter(answer.status_code for answer in answers) == {202: 10, 429: 90}
        refused = next(answer.json() for answer in answers if answer.status_code == 429)
        assert refused["code"] == "quota_exceeded"
        assert "documents" in refused["detail"]
        assert await stored(clients[1]) == 15


async def stored(client: httpx.AsyncClient) -> int:
    use: int = (await client.get("/api/tenant")).json()["use"]["documents"]
    return use


async def test_a_deleted_document_makes_room_for_another(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    await limit(operator, tenant, documents=1)
    async with gateways.clients(tenant.key) as (one, other):
        made = await one.post("/api/documents", json={"title": "first"})
        assert (await other.post("/api/documents", json={"title": "second"})).status_code == 429

        await one.delete(f"/api/documents/{made.json()['document_id']}")

        assert (await other.post("/api/documents", json={"title": "second"})).status_code == 202


@pytest.mark.parametrize(
    ("quota", "asked"),
    [
        pytest.param(*SEARCHES_SHORT, id="short"),
        pytest.param(*SEARCHES_FULL, id="full", marks=pytest.mark.full),
    ],
)
async def test_as_many_searches_are_answered_as_the_day_allows(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant, quota: int, asked: int
) -> None:
    await tenant.put("one", "A heron by the river.")
    await limit(operator, tenant, searches_per_day=quota)
    statuses: Counter[int] = Counter()
    numbers = iter(range(asked))

    async def ask(client: httpx.AsyncClient) -> None:
        for number in numbers:
            body = {"query": f"heron {number}", "mode": "keyword"}
            statuses[(await client.post("/api/search", json=body)).status_code] += 1

    async with gateways.clients(tenant.key) as clients:
        await asyncio.gather(*(ask(client) for client in clients for _ in range(8)))

        assert statuses == {200: quota, 429: asked - quota}
        refused = await clients[0].post("/api/search", json={"query": "heron"})
        assert refused.json()["code"] == "quota_exceeded"
        assert "searches_per_day" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) <= 86_400

        async def told() -> bool:
            return bool((await clients[1].get("/api/tenant")).json()["use"]["searches_today"] == quota)

        await until(told, 20, "every answered search is counted")


async def test_a_batch_counts_each_of_its_searches(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    await limit(operator, tenant, searches_per_day=5)
    async with gateways.clients(tenant.key) as (one, other):
        body = {"queries": [{"query": f"heron {number}"} for number in range(3)]}

        statuses = [
            (await client.post("/api/search/batch", json=body)).status_code for client in (one, other)
        ]

        assert statuses == [200, 429]

        async def what_is_left_is_given() -> bool:
            return (await other.post("/api/search", json={"query": "heron"})).status_code == 200

        await until(what_is_left_is_given, 5, "a single search is answered")
